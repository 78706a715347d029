// Everything here moves one number: the frame. The film, the track, the plots and the list of
// shots all show it, and all can set it. Comes after drawing.js, in one script.

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(drawNow);
}

function drawNow() {
  waiting = false;
  drawTrack();
  figures.forEach((figure, index) => drawPlot(figure, film.panels[index]));
}

// The frame

function show(frame) {
  state.frame = clamp(Math.round(frame), 0, Math.max(0, film.frames - 1));
  const index = shotAt(state.frame);
  const shot = film.shots[index];
  byId("clock").textContent = timecode(state.frame);
  if (index !== state.shot) {
    if (articles[state.shot]) articles[state.shot].removeAttribute("aria-current");
    if (articles[index]) articles[index].setAttribute("aria-current", "true");
    state.shot = index;
    if (state.zoomed) zoomToShot();
    if (state.follow) reveal(index);
  }
  const name = shot ? shot.id : "";
  byId("where").textContent = name;
  track.setAttribute("aria-valuenow", String(state.frame));
  track.setAttribute("aria-valuetext", `${timecode(state.frame)}, shot ${name}`);
  draw();
}

function seek(frame) {
  show(frame);
  // The middle of a frame: its edges belong to two.
  if (video) video.currentTime = (state.frame + 0.5) / rate;
}

function play() {
  if (!video) return;
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}

function reveal(index) {
  if (articles[index]) articles[index].scrollIntoView({ block: "nearest" });
}

function goToShot(index) {
  if (!film.shots.length) return;
  const to = clamp(index, 0, film.shots.length - 1);
  seek(film.shots[to].start);
  if (articles[to]) articles[to].scrollIntoView({ block: "start" });
}

const stops = [...new Set([...film.shots.map((s) => s.start), ...film.seams.map((s) => s.frame)])]
  .sort((a, b) => a - b);

function goToBorder(way) {
  const next = way > 0 ? stops.find((f) => f > state.frame) : stops.findLast((f) => f < state.frame);
  if (next !== undefined) seek(next);
}

function zoomToShot() {
  const shot = film.shots[state.shot];
  if (!shot) return;
  const room = Math.max(12, (shot.stop - shot.start) * 0.15);
  state.from = Math.max(0, shot.start - room);
  state.to = Math.min(film.frames, shot.stop + room);
}

function zoom() {
  state.zoomed = !state.zoomed;
  byId("zoom").setAttribute("aria-pressed", String(state.zoomed));
  if (state.zoomed) zoomToShot();
  else [state.from, state.to] = [0, film.frames];
  draw();
}

function follow() {
  state.follow = !state.follow;
  byId("follow").setAttribute("aria-pressed", String(state.follow));
  if (state.follow) reveal(state.shot);
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  readColours();
  draw();
}

if (video) {
  const told = () => show(Math.floor(video.currentTime * rate + 1e-6));
  const step = (_, about) => {
    if (!video.paused) show(Math.round(about.mediaTime * rate));
    video.requestVideoFrameCallback(step);
  };
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(step);
  else video.addEventListener("timeupdate", () => video.paused || told());
  const sign = (text, label) => {
    byId("play").firstElementChild.textContent = text;
    byId("play").setAttribute("aria-label", label);
  };
  video.addEventListener("play", () => sign("❚❚", "Pause"));
  video.addEventListener("pause", () => { sign("▶", "Play"); told(); });
  video.addEventListener("click", play);
}

// Pointers

function dragging(element, frameOf) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);
    seek(frameOf(event));
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) seek(frameOf(event));
  });
}

const share = (event) => {
  const box = event.currentTarget.getBoundingClientRect();
  return clamp((event.clientX - box.left) / box.width, 0, 1);
};
dragging(track, (event) => share(event) * film.frames - 0.5);
for (const figure of figures) {
  const canvas = figure.querySelector("canvas");
  const frameOf = (event) => Math.floor(state.from + share(event) * (state.to - state.from));
  dragging(canvas, frameOf);
  canvas.addEventListener("pointermove", (event) => {
    state.hover = clamp(frameOf(event), 0, film.frames - 1);
    draw();
  });
  canvas.addEventListener("pointerleave", () => { state.hover = null; draw(); });
}

document.addEventListener("click", (event) => {
  const go = event.target.closest(".go");
  if (go) seek(Number(go.dataset.frame));
  const both = event.target.closest(".both");
  if (both) playTakes(both.closest(".takes"));
});

// Takes

const startOf = (box) => (Number(box.dataset.start) + 0.5) / rate;

function loadTake(take) {
  if (take.src) return;
  take.src = take.dataset.src;
  take.preload = "auto";
  take.tabIndex = 0;
  // Controls would lie over the picture that is to be compared.
  const controls = (shown) => () => { take.controls = shown; };
  for (const name of ["pointerenter", "focus"]) take.addEventListener(name, controls(true));
  for (const name of ["pointerleave", "blur"]) take.addEventListener(name, controls(false));
  take.addEventListener("error", () => take.closest("figure").classList.add("gone"));
  // A picture instead of black, before it is played.
  take.addEventListener("loadedmetadata", () => { take.currentTime = startOf(take.closest(".takes")); },
    { once: true });
}

function playTakes(box) {
  const videos = [...box.querySelectorAll("video")];
  const start = startOf(box);
  videos.forEach(loadTake);
  const playing = videos.some((take) => !take.paused);
  if (playing) return videos.forEach((take) => take.pause());
  const ready = videos.map((take) => new Promise((resolve) => {
    const go = () => {
      take.addEventListener("seeked", resolve, { once: true });
      take.currentTime = start;
    };
    take.addEventListener("error", resolve, { once: true });
    if (take.readyState) go();
    else take.addEventListener("loadedmetadata", go, { once: true });
  }));
  return Promise.all(ready).then(() => videos.forEach((take) => take.play().catch(() => {})));
}

// Pictures are put in only when they come near: a long film has thousands.

function load(image) {
  if (image.dataset.src) {
    image.src = image.dataset.src;
    image.removeAttribute("data-src");
  }
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    entry.target.querySelectorAll("img").forEach(load);
    entry.target.querySelectorAll(".takes video").forEach(loadTake);
    near.unobserve(entry.target);
  }
}, { rootMargin: "600px" });
articles.forEach((article) => near.observe(article));

window.addEventListener("beforeprint", () => {
  document.querySelectorAll(".shot img").forEach(load);
  readColours();
  drawNow();
});
window.addEventListener("afterprint", () => { readColours(); draw(); });

// Finding

const texts = articles.map((article) => article.querySelector("h3").textContent.toLowerCase() + " "
  + [...article.querySelectorAll(".beats")].map((beats) => beats.textContent.toLowerCase()).join(" "));
const KINDS = {
  remarked: (article) => article.dataset.level !== "pass",
  missing: (article) => article.dataset.state === "missing",
  new: (article) => article.dataset.state === "rendered" || article.dataset.state === "mixed",
  takes: (article) => Number(article.dataset.takes) > 1,
};

function find() {
  const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kind = KINDS[byId("only").value] || (() => true);
  let count = 0;
  articles.forEach((article, index) => {
    const fits = kind(article) && words.every((word) => texts[index].includes(word));
    article.hidden = !fits;
    count += fits;
  });
  byId("count").textContent = count === articles.length ? `${count}` : `${count} of ${articles.length}`;
}

byId("find").addEventListener("input", find);
byId("find").addEventListener("submit", (event) => event.preventDefault());

// Keys

const keys = {
  " ": play,
  ArrowLeft: (event) => seek(state.frame - (event.shiftKey ? base : 1)),
  ArrowRight: (event) => seek(state.frame + (event.shiftKey ? base : 1)),
  j: () => goToShot(state.shot + 1),
  k: () => goToShot(state.frame > film.shots[state.shot].start ? state.shot : state.shot - 1),
  "[": () => goToBorder(-1),
  "]": () => goToBorder(1),
  Home: () => seek(0),
  End: () => seek(film.frames - 1),
  z: zoom,
  f: follow,
  t: theme,
  "/": () => byId("text").focus(),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  if (event.target.matches("input, select, textarea, video[controls]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  // Space presses what has the focus.
  if (event.key === " " && event.target.closest("button, summary, a")) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

byId("play").addEventListener("click", play);
byId("before").addEventListener("click", () => keys.k());
byId("after").addEventListener("click", () => keys.j());
byId("zoom").addEventListener("click", zoom);
byId("follow").addEventListener("click", follow);
byId("theme").addEventListener("click", theme);
byId("help").addEventListener("click", () => byId("keys").showModal());

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
new ResizeObserver(draw).observe(document.querySelector("main"));
readColours();
show(0);
drawNow();
