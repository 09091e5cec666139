// The page of one run. All text is set through `textContent`, so that no prompt or file name becomes markup.

const byId = (id) => document.getElementById(id);
const viewer = byId("object");
const shown = { mesh: "", image: "" };
const IDLE_LIMIT_S = 60;
let pace = null;
let current = null;
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
viewer.addEventListener("error", () => showFault("This browser cannot draw the object in 3D (WebGL 2)."));

function showRun(run) {
  document.title = run.prompt;
  byId("prompt").textContent = run.prompt;
  viewer.alt = run.prompt;
  list(byId("facts"), run.facts);
  byId("settings").textContent = JSON.stringify(run.settings, null, 2);
}

function showState(state) {
  current = { state, lastStep: performance.now() / 1000 - state.idle_seconds };
  setStatus(state.status, state.status);
  byId("bar").max = state.total;
  byId("bar").value = state.step;
  showSentence();
  const numbers = { step: `${state.step} of ${state.total}` };
  if (state.attempt > 1) numbers.attempt = state.attempt;
  if (state.opacity !== null) numbers.opacity = state.opacity.toFixed(2);
  if (state.device) numbers.device = state.device;
  list(byId("numbers"), numbers);
  items(byId("notes"), state.notes, (note) => text("li", note));
  showFault(state.fault);
  showImage(state);
  showMesh(state.mesh);
  drawCurve(state);
  showFiles(state.files);
}

// A killed process cannot report its end; all that shows is that no step has come for long.
function showSentence() {
  if (current === null || source.readyState !== EventSource.OPEN) return;
  const { state, lastStep } = current;
  const idle = performance.now() / 1000 - lastStep;
  const sentence = (SENTENCES[state.status] ?? (() => ""))(state);
  const hint = `No step for ${duration(idle)}. If the run was killed, go on with: dreamfields resume RUN`;
  byId("sentence").textContent = state.status === "running" && idle > IDLE_LIMIT_S ? hint : sentence;
}
setInterval(showSentence, 5000);

function setStatus(status, label) {
  byId("status").dataset.status = status;
  byId("status").textContent = label;
}

function showFault(sentence) {
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

function showImage(state) {
  if (state.image === shown.image || state.image === "") return;
  shown.image = state.image;
  byId("image").src = state.image;
  byId("image").alt = `the object after ${state.image_step} steps`;
  byId("image").hidden = false;
  byId("image-step").textContent = `step ${state.image_step}`;
}

// A new mesh replaces the old one under the same camera, which frames it anew until somebody moves it.
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
