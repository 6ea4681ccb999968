// The listening test: a jsPsych timeline made from the study that the page carries.
"use strict";

(async () => {
  const study = JSON.parse(document.getElementById("study").textContent);
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

  // The first heading takes the focus, so that a screen reader starts there and the Tab key reaches the first player next.
  const arrive = () => {
    scrollTo(0, 0);
    const title = main.querySelector("h1");
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
  };

  const note = (title, html, buttons) => ({
    type: jsPsychHtmlButtonResponse,
    stimulus: `<h1>${text(title)}</h1>${html}`,
    choices: buttons,
    on_load: arrive,
  });

  const options = (question, name, many) => `<fieldset ${many ? 'class="wide"' : ""}><legend>${text(question.text)}</legend>
    <div class="options ${question.options.length > 5 ? "many" : ""}">${question.options
      .map(
        ([value, words]) =>
          `<label><input type="radio" name="${text(name)}" value="${text(value)}" required> ${question.kind === "rating" ? `<b>${text(value)}</b>` : ""}<span>${text(words)}</span></label>`,
      )
      .join("")}</div></fieldset>`;

  const sliders = (question, slots) => `<fieldset><legend>${text(question.text)}</legend>${slots
    .map(
      (slot) => `<div class="slider untouched"><label for="s${slot}">version ${text(slot)}</label>
        <input type="range" id="s${slot}" name="${text(question.key)}.${slot}" min="0" max="100" value="50"><output for="s${slot}">–</output></div>`,
    )
    .join("")}</fieldset>`;

  // A page with players and questions. Answers open when every clip was heard to its end, "Continue" when every question has one.
  const form = ({ title, lead = "", clips = [], fields = "", button = "Continue", done }) => {
    let plays = {};
    return {
      type: jsPsychSurveyHtmlForm,
      preamble: `<h1>${text(title)}</h1>${lead}`,
      html: `${Players.html(clips)}<p id="hint" class="soft" role="status"></p><div id="fields">${fields}</div>`,
      button_label: button,
      on_load: () => {
        const send = document.getElementById("jspsych-survey-html-form-next");
        const hint = document.getElementById("hint");
        const sets = [...document.querySelectorAll("#fields fieldset")];
        let heard = false;
        const complete = () =>
          [...document.querySelectorAll("#fields [required]")].every((i) => (i.type === "radio" ? document.querySelector(`[name="${CSS.escape(i.name)}"]:checked`) : i.checked)) &&
          !document.querySelector(".slider.untouched");
        const look = () => {
          send.disabled = !heard || !complete();
          if (!clips.length) hint.hidden = true;
          else if (!heard) hint.textContent = clips.length > 1 ? "Play every clip to its end; then you can go on." : "Play the clip to its end; then you can go on.";
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
        if (done && data.response) done(data.response, data.rt, plays); // a page that was stopped has no answer
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
      lead: `<p>You will hear short clips of music and answer simple questions about them. It takes about ${study.minutes} minutes and is best done in a quiet place with headphones.
        Taking part is voluntary. You may stop at any time, without giving a reason.</p>
        <h2>What is kept</h2>
        <p>Your answers, how long they took, how often you played each clip, the time, the kind of browser and device, and a random code. No name, no e-mail address, no network address.
        The code is shown at the end: whoever runs the test deletes your answers when you tell it to them${study.contact ? ` (${text(study.contact)})` : ""}.</p>
        <p class="soft">Until they are stored, your answers are also kept in this browser. The clips are at an even level, but set a low volume before you begin.</p>`,
      fields: `<label class="tick"><input type="checkbox" id="agree" name="agree" required> <span>I am at least 18 years old, I have read this and I want to take part.</span></label>`,
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
        const answers = study.about.map((q) => ({ question: q.key, slot: "", token: "", value: response[q.key] }));
        if (study.headphones.length) answers.push({ question: "headphones_right", slot: "", token: "", value: right });
        Answers.add({ trial: 0, page: "about", block: "about", repeat_of: null, answers, rt_ms: rt, plays: {} });
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
          if (n + 1 === study.headphones.length) Answers.update({ headphones_pass: right >= study.headphone_pass });
        },
      }),
    );

  const level = () =>
    form({
      title: "Set the volume",
      lead: "<p>Play this clip and set the volume of your device so that it is comfortable and clear. Then please leave it as it is.</p>",
      clips: [{ slot: "level", token: study.level, label: "the clip" }],
    });

  const practice = () =>
    form({
      title: "Practice",
      lead: `<p>Clip A is an original. The others show how far clips can be from it. Nothing is asked here; on later pages, think of these as the ends of the scales.</p>`,
      clips: [{ slot: "A", token: study.level, label: "A, the original" }, ...study.practice.map((p, n) => ({ slot: `x${n}`, token: p.token, label: p.label }))],
    });

  const trialOf = (trial, [name, repeats]) => {
    const page = study.pages[name];
    const block = study.blocks[page.block];
    const judged = page.clips.filter(([slot]) => !["A", "E"].includes(slot));
    const fields = block.questions.map((q) => {
      if (q.kind === "slider") return sliders(q, judged.map(([slot]) => slot));
      if (q.kind === "pair") return options({ ...q, options: judged.map(([slot]) => [slot, `version ${slot}`]) }, q.key);
      return options(q, q.key);
    });
    const shown = form({
      title: block.title,
      clips: page.clips.map(([slot, token]) => ({ slot, token, label: block.labels[slot] || (judged.length > 1 ? `version ${slot}` : slot) })),
      fields: fields.join(""),
      done: (response, rt, plays) => {
        const answers = [];
        for (const q of block.questions) {
          for (const [slot, token] of judged) {
            if (q.kind === "slider") answers.push({ question: q.key, slot, token, value: Number(response[`${q.key}.${slot}`]) });
            else if (q.kind === "pair") slot === response[q.key] && answers.push({ question: q.key, slot, token, value: slot });
            else answers.push({ question: q.key, slot, token, value: q.kind === "rating" ? Number(response[q.key]) : response[q.key] });
          }
        }
        Answers.add({ trial, page: name, block: page.block, repeat_of: repeats, answers, rt_ms: rt, plays });
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
          timeline.push({ ...note("Time for a break", "<p>About half is done. Rest your ears for a minute or two, then go on.</p>", ["Go on"]), on_start: () => progress(trial) });
        }
        const block = study.blocks[name];
        timeline.push({ ...note(block.title, `<p>${text(block.intro)}</p><p class="soft">Play every clip to its end at least once. You cannot go back to a page.</p>`, ["Go on"]), on_start: () => progress(trial) });
        before = name;
      }
      timeline.push(trialOf(trial, order[trial - 1]));
    }
    return timeline;
  };

  const ask = (title, html, choices) =>
    new Promise((answer) => {
      main.className = "jspsych-display-element";
      main.innerHTML = `<div class="jspsych-content"><h1>${text(title)}</h1>${html}<div class="actions">${choices
        .map(([value, words], n) => `<button type="button" value="${value}" class="${n ? "quiet" : ""}">${text(words)}</button>`)
        .join("")}</div></div>`;
      arrive();
      main.querySelectorAll(".actions button").forEach((button) => button.addEventListener("click", () => answer(button.value)));
    });

  const end = () => {
    const state = Answers.get();
    const all = study.orders[state.order].length;
    where.textContent = state.finished ? "Finished" : "Stopped";
    bar.hidden = true;
    stop.hidden = true;
    main.className = "jspsych-display-element";
    main.innerHTML = `<div class="jspsych-content"><h1>Thank you</h1>
      <p>${state.finished ? "That was the last page." : `You stopped after ${Math.max(0, state.next - 1)} of ${all} pages.`}</p>
      <p id="stored" role="status"></p>
      <p>Your code: <code id="code">${text(state.session)}</code><br><span class="soft">Keep it if you may want your answers deleted later.</span></p>
      <div class="actions"><button type="button" id="save">Save answers</button><button type="button" id="again" class="quiet" hidden>Try to send again</button>
      <button type="button" id="fresh" class="quiet">Another listener</button></div></div>`;
    const stored = document.getElementById("stored");
    const again = document.getElementById("again");
    const look = ({ place, given, stored: sent, refused, waiting }) => {
      if (!stored.isConnected) return;
      again.hidden = place === "here" || !waiting;
      stored.className = place !== "here" && sent === given ? "good" : "bad";
      if (place === "here") stored.textContent = "Your answers are in this browser only. Please save them and send the file to whoever asked you to listen.";
      else if (sent === given) stored.textContent = "All your answers are stored.";
      else if (waiting) stored.textContent = `${waiting} of ${given} answers are not stored yet: keep this page open, or save them to a file.`;
      else stored.textContent = `${refused} of ${given} answers could not be stored: please save them and send the file to whoever asked you to listen.`;
    };
    Answers.onChange(look);
    look(Answers.status());
    Answers.flush();
    document.getElementById("save").addEventListener("click", Answers.download);
    again.addEventListener("click", () => Answers.flush());
    document.getElementById("fresh").addEventListener("click", () => {
      const { waiting, place } = Answers.status();
      const unsaved = (place === "here" || waiting) && Answers.get().saved !== Answers.get().records.length;
      if (unsaved && !confirm("These answers are not stored yet. Forget them?")) return;
      Answers.forget();
      location.reload();
    });
    arrive();
  };

  stop.addEventListener("click", () => {
    Players.silence();
    document.getElementById("stopping").showModal();
  });
  document.getElementById("stopping").addEventListener("close", (event) => {
    if (event.target.returnValue === "stop" && experiment) experiment.abortExperiment();
  });
  addEventListener("beforeunload", (event) => {
    const state = Answers.get();
    if (state && state.records.length && state.place !== "server" && state.saved !== state.records.length && !document.hidden) event.preventDefault();
  });

  let state = Answers.open(study);
  if (state && state.finished) return end();
  if (state && state.records.length) {
    const choice = await ask("Welcome back", `<p>You stopped before page ${state.next} of ${study.orders[state.order].length}. Your answers are still here.</p>`, [
      ["on", "Go on"],
      ["new", "Start as a new listener"],
    ]);
    if (choice === "new") {
      Answers.forget();
      state = null;
    }
  } else state = null;
  const resumed = state !== null;
  if (!resumed) {
    await run([consent(), check()]);
    state = await Answers.begin();
    Answers.update({ agent: browser });
  }
  stop.hidden = false;
  const order = study.orders[state.order];
  const audio = [...new Set(order.slice(state.next - 1).flatMap(([name]) => study.pages[name].clips.map(([, token]) => `audio/${token}.wav`)))];
  const load = { type: jsPsychPreload, audio, message: "<p>Loading the clips.</p>", max_load_time: 60000, continue_after_error: true, show_detailed_errors: false };
  const start = resumed ? [level()] : [...headphones(), about(), level(), practice()];
  where.textContent = resumed ? "Going on" : "Before you start";
  await run([load, ...start, ...blocks(order, Math.max(1, state.next))]);
  if (Answers.get().next > order.length) Answers.update({ finished: true });
  end();
})();
