"use strict";
const find = id => document.getElementById(id);
const spoken = name => name.replaceAll("_", " ");
const clock = s => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
const wait = ms => new Promise(done => setTimeout(done, ms));

// ------------------------------------------------------------------------------------------- the server

async function ask(path, options) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer: is `retimbre app` still running?");
  }
  const said = reply.status === 204 ? {} : await reply.json();
  if (!reply.ok) throw new Error(said.error ?? `The server answered ${reply.status}.`);
  return said;
}

function refuse(error) {
  find("problem").textContent = error.message;
  find("problem").hidden = false;
}

// ---------------------------------------------------------------------------------------- the recording

let recording = null, most = null;

function take(file) {
  find("problem").hidden = true;
  recording = file;
  const size = file.size < 1e6 ? `${Math.ceil(file.size / 1e3)} kB` : `${(file.size / 1e6).toFixed(1)} MB`;
  find("chosen").textContent = `${file.name}, ${size}`;
  find("go").disabled = false;
}

// What browsers record, and telephones store, is decoded here: libsndfile reads no AAC and no WebM.
async function toWav(blob, name) {
  const rate = 48000, sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
  const channels = [...Array(sound.numberOfChannels).keys()].map(n => sound.getChannelData(n));
  const count = channels.length, bytes = 2 * count * sound.length, view = new DataView(new ArrayBuffer(44 + bytes));
  const text = (at, letters) => [...letters].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + bytes, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, count, true); view.setUint32(24, rate, true);
  view.setUint32(28, 2 * count * rate, true); view.setUint16(32, 2 * count, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, bytes, true);
  for (let n = 0, at = 44; n < sound.length; n++) {
    for (const channel of channels) {
      view.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, channel[n]))), true);
      at += 2;
    }
  }
  return new File([view], name);
}

async function choose(file) {
  try {
    const foreign = /\.(m4a|mp4|aac|3gp|webm)$/i.test(file.name);
    take(foreign ? await toWav(file, file.name.replace(/\.\w+$/, ".wav")) : file);
  } catch {
    refuse(new Error(`${file.name} is not audio that this browser can decode: convert it to WAV or FLAC.`));
  }
}

find("file").onchange = event => event.target.files[0] && choose(event.target.files[0]);
const drop = find("drop");
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, event => { event.preventDefault(); drop.classList.add("over"); });
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", event => { event.preventDefault(); if (event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]); });
for (const button of document.querySelectorAll(".example")) {
  button.onclick = async () => {
    const reply = await fetch(button.dataset.file);
    take(new File([await reply.blob()], button.dataset.file.split("/").pop()));
  };
}

let recorder = null;
find("record").hidden = !navigator.mediaDevices; // only pages of this machine, or with TLS, may record
find("record").onclick = async () => {
  if (recorder) return recorder.stop();
  try {
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: raw }), parts = [];
    recorder = new MediaRecorder(stream, { audioBitsPerSecond: 256000 });
    recorder.ondataavailable = event => parts.push(event.data);
    const began = Date.now(), button = find("record");
    const tick = setInterval(() => {
      const seconds = (Date.now() - began) / 1000;
      button.textContent = `Stop (${clock(seconds)})`;
      if (seconds >= most.seconds) recorder.stop();
    }, 200);
    recorder.onstop = () => {
      clearInterval(tick);
      stream.getTracks().forEach(track => track.stop());
      button.textContent = "Record again";
      button.classList.remove("on");
      recorder = null;
      choose(new File(parts, "recording.webm"));
    };
    recorder.start();
    button.classList.add("on");
  } catch (error) {
    recorder = null;
    refuse(new Error(`The microphone cannot be used (${error.message}): allow it in the browser.`));
  }
};

// --------------------------------------------------------------------------------------- the instrument

let systems = [];
const options = (select, labels, names = labels) => select.replaceChildren(...labels.map((label, n) => new Option(label, names[n])));

find("to").onchange = () => {
  options(find("system"), systems.filter(s => s.targets.includes(find("to").value)).map(s => s.name));
  find("system").onchange();
};
find("system").onchange = () => { find("about").textContent = systems.find(s => s.name === find("system").value).about; };

async function start() {
  ({ systems, most } = await ask("api/choices"));
  find("limits").textContent = `WAV, FLAC, OGG, MP3, AIFF …; at most ${most.seconds / 60} minutes and ${most.bytes / 1e6} MB`;
  const instruments = [...new Set(systems.flatMap(s => s.targets))];
  options(find("to"), instruments.map(spoken), instruments);
  find("to").onchange();
}
const ready = start();
ready.catch(refuse);

// ----------------------------------------------------------------------------------------- the transfer

let job = null, upload = null;

function forget() { // a page that is left needs its files no longer
  if (job) fetch(`api/jobs/${job}`, { method: "DELETE", keepalive: true });
  job = null;
  upload?.abort();
  upload = null;
}
addEventListener("pagehide", forget);
addEventListener("pageshow", event => event.persisted && location.reload());

find("cancel").onclick = forget;

find("ask").onsubmit = async event => {
  event.preventDefault();
  forget();
  pause();
  for (const id of ["problem", "result"]) find(id).hidden = true;
  const bar = find("progress").querySelector("progress"), said = find("progress").querySelector("[role=status]");
  const file = recording;
  let mine = null;
  const sending = upload = new AbortController();
  try {
    await ready; // the choices and limits may still be on their way
    const to = find("to").value;
    if (file.size > most.bytes) throw new Error(`${file.name} is larger than ${most.bytes / 1e6} MB: cut it.`);
    find("go").disabled = true;
    said.textContent = "Sending the recording …";
    bar.removeAttribute("value");
    find("progress").hidden = false;
    const about = new URLSearchParams({ name: file.name, to, system: find("system").value });
    const headers = { "Content-Type": "application/octet-stream" };
    mine = job = (await ask(`api/jobs?${about}`, { method: "POST", headers, body: file, signal: sending.signal })).id;
    while (job === mine) {
      const now = await ask(`api/jobs/${mine}`);
      if (now.state === "failed") throw new Error(now.error);
      if (now.state === "done") return show(now.result, file.name, to);
      if (now.total > now.done) { bar.max = now.total; bar.value = now.done; } else bar.removeAttribute("value");
      said.textContent = now.state === "waiting" ? `Waiting: ${now.ahead} before this one.`
        : !now.total ? "Loading the system …"
        : now.done < now.total ? `Transferring: ${now.done} of ${now.total} s` : "Listening for notes and drawing …";
      await wait(250);
    }
  } catch (error) {
    if (job === mine && !sending.signal.aborted) refuse(error); // else it was cancelled
  } finally {
    find("progress").hidden = true;
    find("go").disabled = false;
  }
};

// ------------------------------------------------------------------------------------------- the result

const sounds = { original: find("sound-original"), result: find("sound-result") };
let heard = "result", length = 1;

const ticks = (pairs, side) => pairs.map(([share, label]) => {
  const span = Object.assign(document.createElement("span"), { textContent: label });
  span.style[side] = `${100 * share}%`;
  return span;
});

function show(result, name, to) {
  const file = `${name.replace(/\.[^.]*$/, "")} on ${spoken(to)}`;
  length = result.seconds;
  find("notes").replaceChildren(...result.notes.map(text => Object.assign(document.createElement("li"), { textContent: text })));
  for (const id of ["target", "result-name"]) find(id).textContent = spoken(to);
  for (const which of ["original", "result"]) {
    sounds[which].src = `api/jobs/${job}/${which}.wav`;
    find(`picture-${which}`).src = result.pictures[which];
  }
  find("download").href = `api/jobs/${job}/transferred.wav`;
  find("download").setAttribute("aria-label", `Download ${file}`);
  find("axes").replaceChildren(...[result.octaves, result.octaves, result.pitches].map(pairs => {
    const axis = document.createElement("div");
    axis.append(...ticks(pairs, "bottom"));
    return axis;
  }));
  const step = [1, 2, 5, 10].find(s => length / s <= 12) ?? 10;
  find("seconds").replaceChildren(...ticks([...Array(Math.ceil(length / step)).keys()].map(n => [n * step / length, n ? `${n * step}` : "0 s"]), "left"));
  find("pictures").style.width = `max(100%, ${Math.round(28 * length)}px)`;
  find("roll").setAttribute("viewBox", `0 0 ${result.box.join(" ")}`);
  find("roll").replaceChildren(...Object.entries(result.roll).map(([kind, drawn]) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", kind);
    path.setAttribute("d", drawn);
    return path;
  }));
  const { kept, lost, added } = result.counts;
  const counted = `${kept + lost} notes heard in the original: ${kept} kept, ${lost} lost; ${added} added.`;
  find("counts").textContent = counted;
  find("roll").setAttribute("aria-label", counted);
  find("place").max = length;
  find("result").hidden = false;
  seek(0);
  find("result").querySelector("h2").focus();
}

function pause() {
  sounds[heard].pause();
}

function seek(seconds) {
  sounds[heard].currentTime = seconds;
  place(seconds);
}

function place(seconds) {
  find("place").value = seconds;
  find("time").textContent = `${clock(seconds)} / ${clock(length)}`;
  const scroll = document.querySelector(".scroll"), x = seconds / length * find("pictures").offsetWidth;
  find("playhead").style.left = `${x}px`;
  if (!sounds[heard].paused && (x < scroll.scrollLeft || x > scroll.scrollLeft + scroll.clientWidth)) scroll.scrollLeft = x;
}

function follow() {
  place(sounds[heard].currentTime);
  if (!sounds[heard].paused) requestAnimationFrame(follow);
}

for (const sound of Object.values(sounds)) {
  sound.onplay = () => { find("play").textContent = "Pause"; follow(); };
  sound.onpause = () => { find("play").textContent = "Play"; };
  sound.onerror = () => find("result").hidden || refuse(new Error("The sound is no longer there: transfer the recording again."));
}
find("play").onclick = () => sounds[heard].paused ? sounds[heard].play() : pause();
find("place").oninput = event => seek(Number(event.target.value));
find("pictures").onclick = event => seek(length * (event.clientX - find("pictures").getBoundingClientRect().left) / find("pictures").offsetWidth);
for (const choice of document.querySelectorAll("[name=heard]")) {
  choice.onchange = () => { // goes on at the same place
    const before = sounds[heard], playing = !before.paused;
    pause();
    heard = choice.value;
    sounds[heard].currentTime = before.currentTime;
    if (playing) sounds[heard].play();
  };
}
