// Keeps a listener's answers in this browser until the server has stored them.
"use strict";

const Answers = (() => {
  let study, key, state, timer, wait = 1000, busy = false;
  const listeners = [];

  const keep = () => {
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch {
      /* private window or full: the answers stay in this page until they are sent */
    }
  };

  const post = (url, body) =>
    fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });

  const open = (served) => {
    study = served;
    key = `listening ${study.study} ${study.study_hash}`;
    try {
      state = JSON.parse(localStorage.getItem(key));
    } catch {
      state = null;
    }
    if (!Number.isInteger(state?.order) || !Array.isArray(state.records)) state = null;
    addEventListener("online", flush);
    return state;
  };

  // A session from the server, with a counter-balanced order; null while it cannot give one.
  const begin = async (agent) => {
    try {
      const reply = await post("api/session", { study: study.study, study_hash: study.study_hash });
      if (!reply.ok) return null;
      const { session, order } = await reply.json();
      state = { session, order, agent, headphones_pass: null, next: 1, records: [], stored: [], refused: [] };
      keep();
      return state;
    } catch {
      return null;
    }
  };

  const add = (record) => {
    const { session, agent, headphones_pass } = state;
    const common = { study_hash: study.study_hash, session, agent, headphones_pass, simulated: false };
    state.records.push({ ...common, ...record, utc: new Date().toISOString() });
    state.next = record.trial + 1;
    keep();
    flush();
  };

  const update = (changes) => {
    Object.assign(state, changes);
    keep();
  };

  const waiting = () => {
    const done = [...state.stored, ...state.refused];
    return state.records.filter(({ trial }) => !done.includes(trial));
  };

  // Sends what is not stored yet, in order; what fails is kept and tried again, later and later.
  const flush = async () => {
    if (!state || busy) return;
    busy = true;
    clearTimeout(timer);
    for (const record of waiting()) {
      const reply = await post("api/responses", record).catch(() => null);
      if (!reply || reply.status >= 500 || reply.status === 429) break;
      (reply.ok || reply.status === 409 ? state.stored : state.refused).push(record.trial);
      wait = 1000;
      keep();
    }
    busy = false;
    if (waiting().length) {
      timer = setTimeout(flush, wait);
      wait = Math.min(2 * wait, 30000);
    }
    listeners.forEach((listener) => listener());
  };

  const forget = () => {
    state = null;
    keep();
  };

  const onChange = (listener) => listeners.push(listener);
  return { open, begin, add, update, flush, forget, waiting, onChange, get: () => state };
})();
