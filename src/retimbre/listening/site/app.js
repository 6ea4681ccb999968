// The listening test: a jsPsych timeline made from study.json.
"use strict";

(async () => {
  const study = await (await fetch("study.json")).json();
  const main = document.getElementById("main");
  const where = document.getElementById("where");
  const bar = document.getElementById("progress");
  const stop = document.getElementById("stop");
  const text = Players.escape;
  let experiment = null;

  const run = (timeline) => {
    main.replaceChildren();
    experiment = initJsPsych({ display_element: main, use_webaudio: false, on_trial_start: Players.silence });
    return experiment.run(timeline);
  };

  // The first heading takes the focus: a screen reader starts there,
  // and the Tab key reaches the first player next.
  const arrive = () => {
    scrollTo(0, 0);
    const title = main.querySelector("h1");
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
  };

  const note = (title, html, trial) => ({
    type: jsPsychHtmlButtonResponse,
    stimulus: `<h1>${text(title)}</h1>${html}`,
    choices: ["Go on"],
    on_start: () => progress(trial),
    on_load: arrive,
  });

  const options = (question, name) => `<fieldset><legend>${text(question.text)}</legend>
    <div class="options ${question.options.length > 5 ? "many" : ""}">${question.options
      .map(
        ([value, words]) =>
          `<label><input type="radio" name="${text(name)}" value="${text(value)}" required>
          ${question.kind === "rating" ? `<b>${text(value)}</b>` : ""}<span>${text(words)}</span></label>`,
      )
      .join("")}</div></fieldset>`;

  const sliders = (question, slots) => `<fieldset><legend>${text(question.text)}</legend>${slots
    .map(
      (slot) => `<div class="slider untouched"><label for="s${slot}">version ${text(slot)}</label>
        <input type="range" id="s${slot}" name="${text(question.key)}.${slot}" min="0" max="100" value="50">
        <output for="s${slot}">–</output></div>`,
    )
    .join("")}</fieldset>`;

  // A page with players and questions. Answers open when every clip was heard to its end, "Continue" when
  // every question has one.
  const form = ({ title, lead = "", clips = [], fields = "", button = "Continue", done }) => {
    let plays = {};
    return {
      type: jsPsychSurveyHtmlForm,
      preamble: `<h1>${text(title)}</h1>${lead}`,
      html: `${Players.html(clips)}<p id="hint" class="soft" role="status"></p>
        <div id="fields">${fields}</div>`,
      button_label: button,
      on_load: () => {
        const send = document.getElementById("jspsych-survey-html-form-next");
        const hint = document.getElementById("hint");
        const sets = [...document.querySelectorAll("#fields fieldset")];
        let heard = false;
        const complete = () =>
          [...document.querySelectorAll("#fields [required]")].every((i) => i.validity.valid) &&
          !document.querySelector(".slider.untouched");
        const look = () => {
          send.disabled = !heard || !complete();
          if (!clips.length) hint.hidden = true;
          else if (!heard) hint.textContent = "Play every clip to its end; then you can go on.";
          else hint.textContent = sets.length && !complete() ? "Now answer below. You may listen again." : "";
        };
        for (const slider of document.querySelectorAll(".slider input")) {
          slider.addEventListener("input", () => {
            slider.parentElement.classList.remove("untouched");
            slider.parentElement.querySelector("output").textContent = slider.value;
          });
        }
        document.getElementById("fields").addEventListener("input", look);
        Players.attach(main, (now, all) => {
          plays = now;
          heard = all;
          for (const set of sets) set.disabled = !heard;
          look();
        });
        arrive();
      },
      on_finish: (data) => {
        Players.silence();
        if (data.response) done?.(data.response, data.rt, plays); // a page that was stopped has no answer
      },
    };
  };

  const progress = (trial) => {
    const state = Answers.get();
    const total = study.orders[state.order].length;
    where.textContent = `Page ${trial} of ${total}`;
    bar.hidden = false;
    bar.max = total;
    bar.value = trial - 1;
  };

  const consent = () =>
    form({
      title: "A listening test",
      lead: `<p>You will hear short clips of music and answer simple questions about them. It takes about
        ${study.minutes} minutes and is best done in a quiet place with headphones. Taking part is voluntary.
        You may stop at any time, without giving a reason.</p>
        <h2>What is kept</h2>
        <p>Your answers, how long they took, how often you played each clip, the time, the kind of browser and
        device, and a random code. No name, no e-mail address, no network address. The code is shown at the
        end: whoever runs the test deletes your answers when you tell it to them
        ${study.contact && `(${text(study.contact)})`}.</p>
        <p class="soft">Your answers are also kept in this browser. The clips are at an even level, but set a
        low volume before you begin.</p>`,
      fields: `<label class="tick"><input type="checkbox" id="agree" name="agree" required>
        <span>I am at least 18 years old, I have read this and I want to take part.</span></label>`,
      button: "Begin",
    });

  const check = () => ({
    type: jsPsychBrowserCheck,
    features: ["browser", "mobile", "os"],
    on_finish: (data) => {
      if (data.browser) browser = `${data.browser} on ${data.mobile ? "phone or tablet" : "computer"}`;
    },
  });
  let browser = "";

  const about = () =>
    form({
      title: "About you",
      fields: study.about.map((question) => options(question, question.key)).join(""),
      done: (response, rt) => {
        const answers = study.about.map((q) => ({ question: q.key, slot: "", value: response[q.key] }));
        Answers.add({ trial: 0, answers, rt_ms: rt, plays: {} });
      },
    });

  let right = 0;
  const headphones = () =>
    study.headphones.map((trial, n) =>
      form({
        title: `Headphones, ${n + 1} of ${study.headphones.length}`,
        lead: n ? "" : "<p>Please put on headphones now. You hear three tones, one after the other.</p>",
        clips: [{ slot: "tones", token: trial.token, label: "the tones" }],
        fields: options(study.headphone_question, "quietest"),
        done: (response) => {
          right += response.quietest === trial.quietest;
          Answers.update({ headphones_pass: right >= study.headphone_pass });
        },
      }),
    );

  const level = () =>
    form({
      title: "Set the volume",
      lead: `<p>Play this clip and set the volume of your device so that it is comfortable and clear. Then please
        leave it as it is.</p>`,
      clips: [{ slot: "level", token: study.level, label: "the clip" }],
    });

  const practice = () =>
    form({
      title: "Practice",
      lead: `<p>Clip A is an original. The others show how far clips can be from it. Nothing is asked here;
        on later pages, think of these as the ends of the scales.</p>`,
      clips: [
        { slot: "A", token: study.level, label: "A, the original" },
        ...study.practice.map(({ token, label }, n) => ({ slot: `x${n}`, token, label })),
      ],
    });

  const trialOf = (trial, name) => {
    const page = study.pages[name];
    const block = study.blocks[page.block];
    const rated = page.clips.filter(([slot]) => !["A", "E"].includes(slot));
    const plain = (slot) => (rated.length > 1 ? `version ${slot}` : slot);
    const fields = block.questions.map((q) => {
      if (q.kind === "slider") return sliders(q, rated.map(([slot]) => slot));
      if (q.kind === "pair") q = { ...q, options: rated.map(([slot]) => [slot, `version ${slot}`]) };
      return options(q, q.key);
    });
    const shown = form({
      title: block.title,
      clips: page.clips.map(([slot, token]) => ({ slot, token, label: block.labels[slot] || plain(slot) })),
      fields: fields.join(""),
      done: (response, rt, plays) => {
        const answers = [];
        for (const q of block.questions) {
          for (const [slot] of rated) {
            let value = response[q.kind === "slider" ? `${q.key}.${slot}` : q.key];
            if (q.kind === "pair" && value !== slot) continue;
            if (["rating", "slider"].includes(q.kind)) value = Number(value);
            answers.push({ question: q.key, slot, value });
          }
        }
        Answers.add({ trial, answers, rt_ms: rt, plays });
      },
    });
    return { ...shown, on_start: () => progress(trial) };
  };

  const blocks = (order, from) => {
    const timeline = [];
    let before = null;
    let rested = from > 1;
    for (let trial = from; trial <= order.length; trial++) {
      const name = study.pages[order[trial - 1][0]].block;
      if (name !== before) {
        if (!rested && trial - 1 >= order.length / 2 - 2) {
          rested = true;
          timeline.push(note("Time for a break", "<p>Rest your ears for a minute, then go on.</p>", trial));
        }
        const block = study.blocks[name];
        const rules = "Play every clip to its end at least once. You cannot go back to a page.";
        timeline.push(note(block.title, `<p>${text(block.intro)}</p><p class="soft">${rules}</p>`, trial));
        before = name;
      }
      timeline.push(trialOf(trial, order[trial - 1][0]));
    }
    return timeline;
  };

  // A page outside the timeline; `buttons` are [id, words], the first one stands out.
  const show = (title, html, buttons) => {
    main.className = "jspsych-display-element";
    const button = ([id, words], n) =>
      `<button type="button" id="${id}" ${n ? 'class="quiet"' : ""}>${words}</button>`;
    main.innerHTML = `<div class="jspsych-content"><h1>${title}</h1>${html}
      <div class="actions">${buttons.map(button).join("")}</div></div>`;
    arrive();
  };

  const ask = (title, html, buttons) =>
    new Promise((answer) => {
      show(title, html, buttons);
      for (const button of main.querySelectorAll(".actions button")) button.onclick = () => answer(button.id);
    });

  const end = () => {
    const state = Answers.get();
    const all = study.orders[state.order].length;
    const given = Math.max(0, state.next - 1);
    where.textContent = state.finished ? "Finished" : "Stopped";
    bar.hidden = true;
    stop.hidden = true;
    show(
      "Thank you",
      `<p>${state.finished ? "That was the last page." : `You stopped after ${given} of ${all} pages.`}</p>
      <p id="stored" role="status"></p>
      <p>Your code: <code id="code">${text(state.session)}</code><br>
      <span class="soft">Keep it if you may want your answers deleted later.</span></p>`,
      [["again", "Try to send again"], ["fresh", "Another listener"]],
    );
    const stored = document.getElementById("stored");
    const again = document.getElementById("again");
    const look = () => {
      const [waiting, refused] = [Answers.waiting().length, state.refused.length];
      again.hidden = !waiting;
      stored.className = waiting || refused ? "bad" : "good";
      if (waiting) stored.textContent = `${waiting} answers are not stored yet: keep this page open.`;
      else if (refused) stored.textContent = `${refused} answers were refused: tell who asked you.`;
      else stored.textContent = "All your answers are stored.";
    };
    Answers.onChange(look);
    look();
    Answers.flush();
    again.addEventListener("click", Answers.flush);
    document.getElementById("fresh").addEventListener("click", () => {
      if (Answers.waiting().length && !confirm("These answers are not stored yet. Forget them?")) return;
      Answers.forget();
      location.reload();
    });
  };

  stop.addEventListener("click", () => {
    Players.silence();
    document.getElementById("stopping").showModal();
  });
  document.getElementById("stopping").addEventListener("close", (event) => {
    if (event.target.returnValue === "stop" && experiment) experiment.abortExperiment();
  });

  let state = Answers.open(study);
  if (state && state.finished) return end();
  if (state && state.records.length) {
    const left = `You stopped before page ${state.next} of ${study.orders[state.order].length}.`;
    const choice = await ask("Welcome back", `<p>${left} Your answers are still here.</p>`, [
      ["on", "Go on"],
      ["new", "Start as a new listener"],
    ]);
    if (choice === "new") state = null;
  } else state = null;
  const resumed = state !== null;
  if (!resumed) {
    await run([consent(), check()]);
    while (!(state = await Answers.begin(browser)))
      await ask("Not yet", "<p>The server of this test does not answer.</p>", [["retry", "Try again"]]);
  }
  stop.hidden = false;
  const order = study.orders[state.order];
  const left = order.slice(state.next - 1).flatMap(([name]) => study.pages[name].clips);
  const load = {
    type: jsPsychPreload,
    audio: [...new Set(left.map(([, token]) => `audio/${token}.wav`))],
    message: "<p>Loading the clips.</p>",
    max_load_time: 60000,
    continue_after_error: true,
    show_detailed_errors: false,
  };
  const start = resumed ? [level()] : [...headphones(), about(), level(), practice()];
  where.textContent = resumed ? "Going on" : "Before you start";
  await run([load, ...start, ...blocks(order, Math.max(1, state.next))]);
  if (Answers.get().next > order.length) Answers.update({ finished: true });
  end();
})();
