"use strict";
{
  // Decoders that a GLB of ours never needs would otherwise be looked for on another host.
  self.ModelViewerElement = { dracoDecoderLocation: "data:,", ktx2TranscoderLocation: "data:,", lottieLoaderLocation: "data:," };
  const fault = document.getElementById("fault");
  const say = (sentence) => {
    fault.textContent = sentence;
    fault.hidden = false;
  };
  document.getElementById("object").addEventListener("error", () => say("This browser cannot read the object."));
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    document.getElementById("object").removeAttribute("auto-rotate");
  }
  const canvas = document.createElement("canvas");
  if (canvas.getContext("webgl2") === null) {
    say("This browser cannot draw in 3D; try another one, or turn on hardware acceleration (WebGL 2).");
  }
}
