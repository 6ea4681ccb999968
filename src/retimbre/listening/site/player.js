// Players of a page. A clip counts as heard when it was played from beginning to end; there is no seeking.
"use strict";

const Players = (() => {
  let sounding = null; // one clip at a time

  const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

  const html = (clips) =>
    `<ul class="players">${clips
      .map(
        ({ slot, token, label }) =>
          `<li class="player" data-slot="${escape(slot)}" data-token="${escape(token)}">
             <button type="button" class="play"><span aria-hidden="true" class="sign">▶</span>
               <span class="word">Play</span> ${escape(label)}</button>
             <div class="bar" aria-hidden="true"><span></span></div>
             <span class="state" role="status">not heard yet</span>
           </li>`,
      )
      .join("")}</ul>`;

  const secondsPlayed = (audio) => {
    let sum = 0;
    for (let i = 0; i < audio.played.length; i++) sum += audio.played.end(i) - audio.played.start(i);
    return sum;
  };

  const silence = () => {
    if (sounding) sounding.halt();
  };

  // Makes the players inside `element` work; `changed(plays, allHeard)` is called after each clip.
  const attach = (element, changed) => {
    const plays = {};
    const all = [...element.querySelectorAll(".player")];
    for (const box of all) {
      const slot = box.dataset.slot;
      plays[slot] = 0;
      const button = box.querySelector(".play");
      const state = box.querySelector(".state");
      const bar = box.querySelector(".bar span");
      const audio = new Audio(`audio/${box.dataset.token}.wav`);
      audio.preload = "auto";
      const look = (sign, word) => {
        box.querySelector(".sign").textContent = sign;
        box.querySelector(".word").textContent = word;
      };
      const draw = () => {
        bar.style.width = `${audio.duration ? (100 * audio.currentTime) / audio.duration : 0}%`;
        if (sounding === me) requestAnimationFrame(draw);
      };
      const me = {
        halt() {
          audio.pause();
          sounding = null;
          look("▶", "Play");
          bar.style.width = "0";
          if (!plays[slot]) state.textContent = "not heard yet";
        },
      };
      const failed = () => {
        if (sounding === me) me.halt();
        box.classList.add("failed");
        state.textContent = "did not play, try again";
      };
      button.addEventListener("click", () => {
        const mine = sounding === me;
        silence();
        if (mine) return;
        if (audio.error) audio.load();
        audio.currentTime = 0;
        sounding = me;
        box.classList.remove("failed");
        look("■", "Stop");
        state.textContent = "playing";
        audio.play().then(draw, (error) => error.name !== "AbortError" && failed());
      });
      audio.addEventListener("error", failed);
      audio.addEventListener("ended", () => {
        const whole = secondsPlayed(audio) >= audio.duration - 0.3;
        me.halt();
        if (whole) {
          plays[slot] += 1;
          box.classList.add("heard");
          state.textContent = plays[slot] > 1 ? `heard ${plays[slot]} times` : "heard";
        }
        changed(plays, all.every((other) => plays[other.dataset.slot] > 0));
      });
    }
    changed(plays, all.length === 0);
  };

  return { html, attach, silence, escape };
})();
