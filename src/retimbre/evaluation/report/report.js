"use strict";
// One sound at a time.
document.addEventListener("play", event => document.querySelectorAll("audio").forEach(a => a !== event.target && a.pause()), true);

// Sounds and pictures lie at the end of the page as text; each becomes a file when it comes near.
const files = new Map();
const fileOf = name => {
  if (!files.has(name)) {
    const text = document.getElementById(name);
    const bytes = Uint8Array.from(atob(text.text), letter => letter.charCodeAt(0));
    files.set(name, URL.createObjectURL(new Blob([bytes], { type: text.type })));
    text.remove();
  }
  return files.get(name);
};
const load = element => { near.unobserve(element); element.src = fileOf(element.dataset.medium); };
const near = new IntersectionObserver(seen => seen.forEach(entry => entry.isIntersecting && load(entry.target)), { rootMargin: "600px" });
document.querySelectorAll("[data-medium]").forEach(element => near.observe(element));
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  document.querySelectorAll("img:not([src])").forEach(load);
});

const colours = document.getElementById("colours");
colours.addEventListener("input", event => { document.documentElement.style.colorScheme = event.target.value; });
colours.hidden = false;

const form = document.getElementById("filter");
if (form) {
  const list = document.getElementById("pairs"), pairs = [...list.children], field = name => form.elements[name]?.value ?? "";
  const rank = pair => pair.dataset.rank === "" ? -Infinity : Number(pair.dataset.rank);
  const orders = {
    order: (a, b) => a.dataset.order - b.dataset.order,
    best: (a, b) => rank(b) - rank(a),
    worst: (a, b) => rank(a) - rank(b),
    name: (a, b) => a.dataset.text.localeCompare(b.dataset.text) || orders.order(a, b),
  };
  const show = () => {
    const text = field("text").trim().toLowerCase(), system = field("system"), all = document.getElementById("all");
    if (system && list.querySelector(`[data-system="${system}"][data-view="all"]`)) all.checked = true;
    let shown = 0;
    for (const pair of pairs) {
      const fits = pair.dataset.text.includes(text) && ["direction", "stratum", "range"].every(name => !field(name) || pair.dataset[name] === field(name));
      const cards = [...pair.querySelectorAll("[data-system]")];
      const has = !system || cards.some(card => card.dataset.system === system);
      for (const card of cards) card.hidden = Boolean(system) && ![system, "source", "target"].includes(card.dataset.system);
      pair.hidden = !(fits && has);
      shown += pair.hidden ? 0 : 1;
    }
    form.querySelector("output").textContent = `${shown} of ${pairs.length} pairs`;
    document.getElementById("nothing").hidden = shown > 0;
  };
  const sort = () => [...pairs].sort(orders[field("sort")]).forEach(pair => list.append(pair));
  const pictures = () => form.querySelectorAll("input[type=checkbox]").forEach(box => {
    list.querySelectorAll(`[data-picture="${box.name}"]`).forEach(plot => { plot.hidden = !box.checked; });
  });
  form.addEventListener("input", event => {
    if (event.target.name === "sort") sort();
    else if (event.target.type === "checkbox") pictures();
    else show();
  });
  form.addEventListener("submit", event => event.preventDefault());
  // A link to a pair that is filtered away would lead nowhere.
  addEventListener("hashchange", () => {
    const pair = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (pair?.hidden) { form.reset(); sort(); show(); pictures(); pair.scrollIntoView(); }
  });
  form.hidden = false;
  show();
}
