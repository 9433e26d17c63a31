"use strict";

// The report of a training: samples of any epoch, values under the pointer, and a page that
// stays fresh. What the reader set is kept over a reload.
document.addEventListener("DOMContentLoaded", () => {
  const slider = document.getElementById("epoch");
  const play = document.getElementById("play");
  const silent = document.getElementById("silent");
  const pictures = [...document.querySelectorAll("[data-name][src]")];
  const newest = new Map(pictures.map((picture) => [picture, picture.getAttribute("src")]));

  // Samples: the page names only the newest pictures; those of other epochs have like names.

  const epochs = (slider?.dataset.epochs ?? "").split(",").filter(Boolean).flatMap((run) => {
    const [first, last] = run.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const atNewest = () => !slider || Number(slider.value) === epochs.length - 1;

  function showEpoch() {
    const epoch = epochs[Number(slider.value)];
    const folder = `${slider.dataset.folder}epoch${String(epoch).padStart(3, "0")}_`;
    for (const picture of pictures) {
      picture.src = atNewest() ? newest.get(picture) : `${folder}${picture.dataset.name}.png`;
      picture.parentElement.href = picture.src;
    }
    slider.setAttribute("aria-valuetext", `epoch ${epoch}`);
    document.querySelector("label[for=epoch] b").textContent = epoch;
  }

  let playing = 0;

  function stop() {
    clearInterval(playing);
    playing = 0;
    play.textContent = "Play";
  }

  function start() {
    if (atNewest()) {
      slider.value = "0";
      showEpoch();
    }
    play.textContent = "Stop";
    playing = setInterval(() => {
      slider.stepUp();
      showEpoch();
      if (atNewest()) stop();
    }, Math.max(100, Math.min(400, 12000 / epochs.length)));
  }

  let dragging = false;
  if (slider) {
    slider.addEventListener("input", () => {
      if (playing) stop();
      showEpoch();
    });
    slider.addEventListener("pointerdown", () => { dragging = true; });
    for (const kind of ["pointerup", "pointercancel"]) {
      window.addEventListener(kind, () => { dragging = false; });
    }
    play?.addEventListener("click", () => (playing ? stop() : start()));
  }

  // Charts: the points are read back from the drawing.

  const plots = [...document.querySelectorAll(".plot")].map((plot) => {
    const [low, high] = plot.dataset.range.split(" ").map(Number);
    const values = [...plot.closest("figure").querySelectorAll(".key b")];
    const curves = [...plot.querySelectorAll("path[data-name]")].map((path, index) => {
      const numbers = path.getAttribute("d").slice(1).split(" ").map(Number);
      return { numbers, text: values[index], latest: values[index].textContent };
    });
    const right = plot.querySelector("svg").viewBox.baseVal.width;
    return { plot, low, high, right, curves, cursor: null };
  });

  // As spell_number in axis.py does.
  function spell(value) {
    const size = Math.abs(value);
    if (size >= 999.5 && size < 1e12) return value.toLocaleString("en", { maximumFractionDigits: 0 });
    const short = Number(value.toPrecision(3));
    return size && (size < 1e-3 || size >= 1e12) ? short.toExponential().replace("+", "") : String(short);
  }

  // The place, in `numbers` (x, y, x, y, ...), of the point whose x is nearest.
  function nearest(numbers, x) {
    let [low, high] = [0, numbers.length / 2 - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[2 * middle] < x) low = middle + 1; else high = middle;
    }
    const before = Math.max(0, low - 1);
    return 2 * (x - numbers[2 * before] < numbers[2 * low] - x ? before : low);
  }

  function read(chart, share) {
    let x = 0;
    for (const { numbers, text } of chart.curves) {
      const place = nearest(numbers, share * chart.right);
      x = numbers[place];
      text.textContent = spell(chart.high - (numbers[place + 1] / 1e4) * (chart.high - chart.low));
    }
    if (!chart.cursor) {
      chart.cursor = document.createElement("div");
      chart.cursor.className = "cursor";
      chart.cursor.append(document.createElement("span"));
      chart.plot.append(chart.cursor);
    }
    chart.cursor.style.left = `${(100 * x) / chart.right}%`;
    chart.cursor.firstChild.textContent = x.toLocaleString("en");
  }

  function leave() {
    for (const chart of plots) {
      chart.cursor?.remove();
      chart.cursor = null;
      for (const { text, latest } of chart.curves) text.textContent = latest;
    }
  }

  for (const { plot } of plots) {
    const point = (event) => {
      const box = plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      for (const chart of plots) read(chart, share);
    };
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerleave", leave);
  }

  // What the reader set: the epoch, unless it is the newest; the place; what is unfolded.

  const key = `impasto ${location.pathname}`;
  const folded = [...document.querySelectorAll("details")];

  function remember() {
    const state = {
      epoch: atNewest() ? null : epochs[Number(slider.value)],
      place: window.scrollY,
      open: folded.filter((part) => part.open).map((part) => part.id),
      focus: document.activeElement?.id ?? "",
    };
    try { sessionStorage.setItem(key, JSON.stringify(state)); } catch { /* private window */ }
  }

  function recall() {
    let state = null;
    try {
      state = JSON.parse(sessionStorage.getItem(key));
      sessionStorage.removeItem(key);
    } catch { /* private window */ }
    if (!state) return;
    for (const part of folded) part.open = state.open.includes(part.id);
    if (epochs.includes(state.epoch)) {
      slider.value = String(epochs.indexOf(state.epoch));
      showEpoch();
    }
    if (state.focus) document.getElementById(state.focus)?.focus({ preventScroll: true });
    window.scrollTo({ top: state.place, behavior: "instant" });
  }

  recall();

  // A page of a training that goes on comes again by itself, unless the reader is busy with it.

  if (!silent) return;
  const seconds = Number(silent.dataset.reloadSeconds);
  const written = Number(silent.dataset.written) * 1000;
  const opened = performance.now();
  let touched = 0;
  for (const kind of ["pointermove", "keydown"]) {
    document.addEventListener(kind, () => { touched = performance.now(); }, { passive: true });
  }
  // Not for ever: a pointer may have been left lying on a chart.
  const reading = () => performance.now() - touched < 30000
    && (plots.some((chart) => chart.cursor) || !document.getSelection().isCollapsed);
  const busy = () => document.hidden || dragging || playing || reading();

  function tick() {
    if (Date.now() - written > Number(silent.dataset.silenceSeconds) * 1000) {
      const since = new Date(written).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
      silent.textContent = `No report since ${since}: the training may have been killed.`;
      silent.hidden = false;
    }
    if (performance.now() - opened < seconds * 1000 || busy()) return;
    remember();
    location.reload();
  }

  tick();
  setInterval(tick, Math.min(1000, seconds * 1000));
});
