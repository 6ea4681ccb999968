// Keeps a listener's answers: in this browser until they are stored elsewhere, and sent to the server when there is one.
"use strict";

const Answers = (() => {
  const memory = {};
  const store = {
    read(key) {
      try {
        return JSON.parse(localStorage.getItem(key));
      } catch {
        return memory[key] ?? null;
      }
    },
    write(key, value) {
      memory[key] = value;
      try {
        localStorage.setItem(key, JSON.stringify(value));
      } catch {
        /* private window or full: the answers stay in this page and can be saved at its end */
      }
    },
  };

  let study, key, state, timer, wait = 1000, busy = false;
  const listeners = [];
  const tell = () => listeners.forEach((listener) => listener(status()));
  const keep = () => store.write(key, state);

  const randomId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

  const post = (url, body) =>
    fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "omit", referrerPolicy: "no-referrer" });

  const open = (served) => {
    study = served;
    key = `listening ${study.study} ${study.study_hash}`;
    state = store.read(key);
    if (state && !(Number.isInteger(state.order) && study.orders[state.order] && Array.isArray(state.records))) state = null;
    addEventListener("online", () => flush());
    return state;
  };

  // A session from the server, with a counter-balanced order; without a server one made here.
  const begin = async () => {
    let got = null;
    if (!study.endpoint && location.protocol !== "file:") {
      for (let attempt = 0; attempt < 2 && !got; attempt++) {
        try {
          const reply = await post("api/session", { study: study.study, study_hash: study.study_hash });
          if (reply.ok) got = await reply.json();
          else if (reply.status !== 429 && reply.status < 500) break;
        } catch {
          /* no server */
        }
        if (!got) await new Promise((done) => setTimeout(done, 500));
      }
    }
    const place = got ? "server" : study.endpoint ? "endpoint" : "here";
    const order = got ? got.order : crypto.getRandomValues(new Uint32Array(1))[0] % study.orders.length;
    state = { session: got ? got.session : randomId(), order, place, next: 1, records: [], acknowledged: [], refused: [], finished: false, headphones_pass: null, agent: "" };
    keep();
    return state;
  };

  const add = (record) => {
    const common = { study: study.study, study_hash: study.study_hash, session: state.session, order: state.order };
    const rest = { utc: new Date().toISOString(), agent: state.agent, headphones_pass: state.headphones_pass, simulated: false };
    state.records.push({ ...common, ...record, ...rest });
    state.next = record.trial + 1;
    keep();
    flush();
  };

  const update = (changes) => {
    Object.assign(state, changes);
    keep();
  };

  const waiting = () => state.records.filter((r) => !state.acknowledged.includes(r.trial) && !state.refused.includes(r.trial));

  const status = () => ({ place: state.place, given: state.records.length, stored: state.acknowledged.length, refused: state.refused.length, waiting: waiting().length });

  // Sends what is not stored yet, in order; what fails is kept and tried again, later and later.
  const flush = async () => {
    if (!state || state.place === "here" || busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      for (const record of waiting()) {
        let reply;
        try {
          reply = await post(study.endpoint || "api/responses", record);
        } catch {
          break;
        }
        if (reply.ok || reply.status === 409) state.acknowledged.push(record.trial);
        else if (reply.status === 429 || reply.status === 408 || reply.status >= 500) break;
        else state.refused.push(record.trial);
        wait = 1000;
        keep();
        tell();
      }
    } finally {
      busy = false;
    }
    if (waiting().length) {
      timer = setTimeout(flush, wait);
      wait = Math.min(2 * wait, 30000);
    }
    tell();
  };

  const download = () => {
    const file = { format: "retimbre-listening-1", study: study.study, study_hash: study.study_hash, session: state.session, order: state.order, records: state.records };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }));
    link.download = `answers-${state.session}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    state.saved = state.records.length;
    keep();
  };

  const forget = () => {
    state = null;
    store.write(key, null);
  };

  return { open, begin, add, update, flush, download, forget, status, onChange: (f) => listeners.push(f), get: () => state };
})();
