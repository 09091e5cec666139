// The page of one run. All text comes in through `textContent`: whatever a prompt or a file is called, it stays text.

const byId = (id) => document.getElementById(id);
const viewer = byId("object");
const shown = { mesh: "", picture: "" };
const PATIENCE = 60;
let pace = null;
let present = null;
let touched = false;
if (matchMedia("(prefers-reduced-motion: reduce)").matches) viewer.removeAttribute("auto-rotate");

const SENTENCES = {
  started: () => "Waiting for the first step.",
  running: (state) => left(state),
  interrupted: () => "Stopped and saved; go on with: dreamfields resume RUN",
  optimized: () => "The steps are done; pictures, video and mesh are being written.",
  finished: (state) => (state.seconds === null ? "Done." : `Done in ${duration(state.seconds)} of optimisation.`),
};

const source = new EventSource("/events");
source.addEventListener("run", (event) => showRun(JSON.parse(event.data)));
source.addEventListener("state", (event) => showState(JSON.parse(event.data)));
source.addEventListener("error", () => {
  setStatus("lost", source.readyState === EventSource.CLOSED ? "ended" : "connection lost");
  byId("sentence").textContent = "The page's server is gone; start it again with: dreamfields view RUN";
});
viewer.addEventListener("camera-change", (event) => {
  touched ||= event.detail.source === "user-interaction";
});
viewer.addEventListener("error", () => say("This browser cannot draw the object in 3D (WebGL 2)."));

function showRun(run) {
  document.title = run.prompt;
  byId("prompt").textContent = run.prompt;
  viewer.alt = run.prompt;
  list(byId("facts"), run.facts);
  byId("settings").textContent = JSON.stringify(run.settings, null, 2);
}

function showState(state) {
  present = { state, spoken: performance.now() / 1000 - state.silence };
  setStatus(state.status, state.status);
  byId("bar").max = state.total;
  byId("bar").value = state.step;
  sayHow();
  const numbers = { step: `${state.step} of ${state.total}` };
  if (state.attempt > 1) numbers.attempt = state.attempt;
  if (state.opacity !== null) numbers.opacity = state.opacity.toFixed(2);
  if (state.device) numbers.device = state.device;
  list(byId("numbers"), numbers);
  items(byId("notes"), state.notes, (note) => text("li", note));
  say(state.fault);
  showPicture(state);
  showMesh(state.mesh);
  drawCurve(state);
  showFiles(state.files);
}

// A run whose process was killed cannot say so; that nothing has come for long is all there is to see.
function sayHow() {
  if (present === null || source.readyState !== EventSource.OPEN) return;
  const { state, spoken } = present;
  const silence = performance.now() / 1000 - spoken;
  const sentence = (SENTENCES[state.status] ?? (() => ""))(state);
  const hint = `No step for ${duration(silence)}. If the run was killed, go on with: dreamfields resume RUN`;
  byId("sentence").textContent = state.status === "running" && silence > PATIENCE ? hint : sentence;
}
setInterval(sayHow, 5000);

function setStatus(status, label) {
  byId("status").dataset.status = status;
  byId("status").textContent = label;
}

function say(sentence) {
  byId("fault").textContent = sentence;
  byId("fault").hidden = sentence === "";
}

// Time left, from the pace since the page was opened or the attempt began.
function left(state) {
  const now = performance.now() / 1000;
  if (pace === null || pace.attempt !== state.attempt) pace = { attempt: state.attempt, step: state.step, now };
  const steps = state.step - pace.step;
  if (steps < 2) return "Running.";
  return `About ${duration(((now - pace.now) / steps) * (state.total - state.step))} left.`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function showPicture(state) {
  if (state.picture === shown.picture || state.picture === "") return;
  shown.picture = state.picture;
  byId("picture").src = state.picture;
  byId("picture").alt = `the object after ${state.picture_step} steps`;
  byId("picture").hidden = false;
  byId("picture-step").textContent = `step ${state.picture_step}`;
}

// A new mesh takes the place of the old one under the same eyes; until somebody zooms, it is framed anew.
function showMesh(mesh) {
  if (mesh === shown.mesh || mesh === "") return;
  if (touched) {
    const { theta, phi, radius } = viewer.getCameraOrbit();
    viewer.cameraOrbit = `${theta}rad ${phi}rad ${radius}m`;
    viewer.fieldOfView = `${viewer.getFieldOfView()}deg`;
  }
  shown.mesh = mesh;
  viewer.src = mesh;
  byId("waiting").hidden = true;
}

function drawCurve(state) {
  const points = state.curve;
  byId("score").textContent = state.score === null ? "" : state.score.toFixed(3);
  if (points.length < 2) return;
  const low = Math.min(...points);
  const high = Math.max(...points);
  const x = (index) => (400 * index) / (points.length - 1);
  const y = (value) => 135 - (130 * (value - low)) / Math.max(high - low, 1e-6);
  byId("line").setAttribute("points", points.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
  items(byId("marks"), state.restarts, (step) => {
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const at = x(step / state.width).toFixed(1);
    for (const [name, value] of Object.entries({ x1: at, x2: at, y1: 0, y2: 140 })) mark.setAttribute(name, value);
    return mark;
  });
  byId("low").textContent = `low ${low.toFixed(3)}`;
  byId("span").textContent = `${state.steps} steps`;
  byId("high").textContent = `high ${high.toFixed(3)}`;
}

function showFiles(names) {
  byId("none").hidden = names.length > 0;
  items(byId("files"), names, (name) => {
    const link = text("a", name);
    link.href = `/files/${encodeURIComponent(name)}`;
    link.download = name;
    const item = document.createElement("li");
    item.append(link);
    return item;
  });
}

function list(target, entries) {
  target.replaceChildren(...Object.entries(entries).flatMap(([name, value]) => [text("dt", name), text("dd", value)]));
}

function items(target, values, make) {
  target.replaceChildren(...values.map(make));
  target.hidden = values.length === 0;
}

function text(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content;
  return element;
}
