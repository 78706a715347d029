"use strict";

// What the page knows, and how it draws it: the track below the film, and the plots.

const film = JSON.parse(document.getElementById("data").textContent);
const rate = film.fps[0] / film.fps[1];
const base = Math.ceil(rate);
const byId = (id) => document.getElementById(id);
const video = byId("film");
const track = byId("track");
const articles = [...document.querySelectorAll(".shot")];
const figures = [...document.querySelectorAll(".plots figure")];
const state = { frame: 0, shot: -1, hover: null, from: 0, to: film.frames, zoomed: false, follow: false };

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const pad = (n) => String(n).padStart(2, "0");

function timecode(frame) {
  const seconds = Math.floor(frame / base);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60, frame % base];
  return parts.map(pad).join(":");
}

function shotAt(frame) {
  let low = 0;
  let high = film.shots.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (film.shots[middle].start <= frame) low = middle;
    else high = middle - 1;
  }
  return low;
}

// Values

function unpack(line) {
  const bytes = Uint8Array.from(atob(line.data), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const values = new Float32Array(bytes.length / 2);
  const step = (line.high - line.low) / 65534;
  for (let i = 0; i < values.length; i += 1) {
    const raw = view.getUint16(2 * i, true);
    values[i] = raw === 65535 ? NaN : line.low + raw * step;
  }
  return values;
}

for (const panel of film.panels) {
  panel.values = panel.lines.map(unpack);
  let low = Math.min(...panel.lines.map((line) => line.low));
  let high = Math.max(...panel.lines.map((line) => line.high));
  if (panel.marks.length) {
    low = 0;
    high = Math.max(high, Math.max(...panel.marks) * 1.15);
  }
  const room = (high - low) * 0.08 || 1;
  panel.low = low - (panel.marks.length ? 0 : room);
  panel.high = high + room;
}

// Drawing

const COLOURS = ["ink", "soft", "line", "faint", "sheet", "cut", "seam", "beat", "join", "title",
  "blend", "head", "warn", "fail", "curve0", "curve1", "curve2"];
let colour = {};

function readColours() {
  const probe = document.body.appendChild(document.createElement("i"));
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    colour[name] = getComputedStyle(probe).color;
  }
  probe.remove();
}

function begin(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

const place = (frame, width) => ((frame - state.from) / (state.to - state.from)) * width;

function rule(pen, x, top, bottom, name, wide, dash) {
  pen.strokeStyle = colour[name];
  pen.lineWidth = wide;
  pen.setLineDash(dash || []);
  pen.beginPath();
  pen.moveTo(x, top);
  pen.lineTo(x, bottom);
  pen.stroke();
  pen.setLineDash([]);
}

// Cuts, seams and beats, thinned where they would fill the picture.
function borders(pen, width, top, bottom) {
  const crowd = (list) => list.length * 3 > width * (film.frames / (state.to - state.from));
  const faint = crowd(film.shots) ? 0.35 : 1;
  pen.globalAlpha = crowd(film.seams) ? 0.3 : 0.9;
  for (const seam of film.seams) {
    if (seam.kind === "continuation") continue;
    rule(pen, place(seam.frame, width), top, bottom, "seam", 1, [3, 3]);
  }
  for (const frame of film.beats) rule(pen, place(frame, width), top, bottom, "beat", 1.2);
  pen.globalAlpha = faint;
  const joins = new Set(film.seams.filter((s) => s.kind === "continuation").map((s) => s.frame));
  for (const shot of film.shots.slice(1)) {
    const joined = joins.has(shot.start);
    rule(pen, place(shot.start, width), top, bottom, joined ? "join" : "cut", 1, joined ? [1, 3] : []);
  }
  pen.globalAlpha = 1;
}

function drawTrack() {
  const { pen, width, height } = begin(track.firstElementChild);
  const floor = height - 12;
  const keep = [state.from, state.to];
  [state.from, state.to] = [0, film.frames];
  film.shots.forEach((shot, index) => {
    const left = place(shot.start, width);
    const right = place(shot.stop, width);
    pen.globalAlpha = shot.missing ? 0.3 : 1;
    pen.fillStyle = shot.missing ? colour.fail : index % 2 ? colour.faint : colour.sheet;
    pen.fillRect(left, 0, right - left, floor);
    pen.globalAlpha = 1;
    if (shot.level === "warn" || shot.level === "fail") {
      pen.fillStyle = colour[shot.level];
      pen.fillRect(left + 1, 0, Math.max(1, right - left - 2), 3);
    }
  });
  pen.globalAlpha = 0.4;
  pen.fillStyle = colour.blend;
  for (const [start, stop] of film.blends) {
    pen.fillRect(place(start, width), 0, Math.max(1, place(stop, width) - place(start, width)), floor);
  }
  pen.globalAlpha = 1;
  borders(pen, width, 0, floor);
  pen.font = "600 12px system-ui, sans-serif";
  pen.fillStyle = colour.ink;
  for (const shot of film.shots) {
    const left = place(shot.start, width);
    if (place(shot.stop, width) - left > pen.measureText(shot.id).width + 8) {
      pen.fillText(shot.id, left + 5, 17);
    }
  }
  pen.fillStyle = colour.title;
  for (const [start, stop] of film.titles) {
    pen.fillRect(place(start, width), floor - 5, Math.max(2, place(stop, width) - place(start, width)), 3);
  }
  pen.fillStyle = colour.line;
  pen.fillRect(0, floor, width, 1);
  pen.fillStyle = colour.soft;
  pen.globalAlpha = 0.5;
  if (state.zoomed) {
    pen.fillRect(place(keep[0], width), floor + 4, Math.max(3, place(keep[1] - keep[0], width)), 4);
  }
  pen.globalAlpha = 1;
  const x = place(state.frame + 0.5, width);
  rule(pen, x, 0, height, "head", 2);
  pen.fillStyle = colour.head;
  pen.beginPath();
  pen.arc(clamp(x, 5, width - 5), height - 6, 5, 0, 7);
  pen.fill();
  [state.from, state.to] = keep;
}

function curve(pen, values, panel, width, height, name) {
  const y = (value) => height - ((value - panel.low) / (panel.high - panel.low)) * height;
  const first = Math.max(0, Math.floor(state.from));
  const last = Math.min(values.length, Math.ceil(state.to));
  pen.strokeStyle = pen.fillStyle = colour[name];
  pen.lineWidth = 1.3;
  if (panel.dots) {
    for (let frame = first; frame < last; frame += 1) {
      if (Number.isNaN(values[frame])) continue;
      pen.fillRect(place(frame, width) - 2, y(values[frame]) - 2, 4, 4);
    }
    return;
  }
  const stride = Math.max(1, Math.floor((last - first) / (2 * width)));
  let before = -99;
  let shot = -1;
  pen.beginPath();
  for (let start = first; start < last; start += stride) {
    let low = Infinity;
    let high = -Infinity;
    for (let frame = start; frame < Math.min(last, start + stride); frame += 1) {
      if (values[frame] < low) low = values[frame];
      if (values[frame] > high) high = values[frame];
    }
    if (low === Infinity) continue;
    const now = stride > 6 ? shot : shotAt(start);
    const x = place(start + stride / 2, width);
    if (now !== shot || start - before > 40 + stride) pen.moveTo(x, y(low));
    else pen.lineTo(x, y(low));
    if (high > low) pen.lineTo(x, y(high));
    before = start;
    shot = now;
  }
  pen.stroke();
}

function drawPlot(figure, panel) {
  const { pen, width, height } = begin(figure.querySelector("canvas"));
  for (const mark of panel.marks) {
    const y = height - ((mark - panel.low) / (panel.high - panel.low)) * height;
    pen.fillStyle = colour.line;
    pen.fillRect(0, y, width, 1);
    pen.fillStyle = colour.soft;
    pen.font = "10px system-ui, sans-serif";
    pen.fillText(String(mark), 3, y + 12 > height ? y - 2 : y + 10);
  }
  pen.globalAlpha = 0.25;
  pen.fillStyle = colour.blend;
  for (const [start, stop] of film.blends) {
    pen.fillRect(place(start, width), 0, place(stop, width) - place(start, width), height);
  }
  pen.fillStyle = colour.fail;
  for (const shot of film.shots) {
    if (shot.missing) pen.fillRect(place(shot.start, width), 0, place(shot.stop, width) - place(shot.start, width), height);
  }
  pen.globalAlpha = 0.55;
  borders(pen, width, 0, height);
  pen.globalAlpha = 1;
  panel.values.forEach((values, index) => curve(pen, values, panel, width, height, `curve${index}`));
  for (const [frame, level] of film.remarks) {
    const x = place(frame, width);
    pen.fillStyle = colour[level] || colour.soft;
    pen.beginPath();
    pen.moveTo(x - 4, 0);
    pen.lineTo(x + 4, 0);
    pen.lineTo(x, 6);
    pen.fill();
  }
  rule(pen, place(state.frame + 0.5, width), 0, height, "head", 1.5);
  if (state.hover !== null) rule(pen, place(state.hover + 0.5, width), 0, height, "soft", 1);
  readOut(figure, panel);
}

function readOut(figure, panel) {
  const frame = state.hover === null ? state.frame : state.hover;
  const told = panel.values.map((values) => nearest(values, frame, panel.dots)).filter((t) => t !== null);
  const head = state.hover === null ? "" : `${timecode(frame)}  `;
  figure.querySelector("output").textContent = head + told.map((value) => value.toPrecision(3)).join("  ");
}

function nearest(values, frame, exact) {
  const reach = exact ? 3 : 24;
  for (let off = 0; off <= reach; off += 1) {
    for (const at of [frame - off, frame + off]) {
      if (at >= 0 && at < values.length && !Number.isNaN(values[at])) return values[at];
    }
  }
  return null;
}
