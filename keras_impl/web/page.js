"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);

  const notify = (sentence) => {
    const notice = find("#notice");
    if (notice) notice.textContent = sentence;
  };

  // The camera: gradio says nothing where it is denied.
  const devices = navigator.mediaDevices;
  if (devices) {
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (wanted) => {
      try {
        const stream = await open(wanted);
        notify("");
        return stream;
      } catch (error) {
        notify(cameraSentence(error.name));
        throw error;
      }
    };
  }
  const cameraSentence = (name) =>
    name === "NotAllowedError"
      ? "The browser does not let this page use the camera. Allow it beside the page's address, or choose a file."
      : "No camera can be used here. Choose a file instead.";
  const fromCamera = ["NotAllowedError", "NotFoundError", "NotReadableError", "OverconstrainedError"];
  window.addEventListener("unhandledrejection", (event) => {
    if (fromCamera.includes(event.reason?.name)) event.preventDefault();
  });

  // What cannot work is said here, in words, before gradio would.
  const refuse = (event, files) => {
    const limit = Number(find("#notice").dataset.maxBytes);
    const [file] = files;
    if (!file) return;
    const isPicture = file.type.startsWith("image/");
    if (isPicture && file.size <= limit) return notify("");
    const reason = isPicture ? `is larger than ${limit / 1e6} MB.` : "is not a picture that this page can read.";
    notify(`The file ${file.name} ${reason}`);
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  document.addEventListener("change", (event) => refuse(event, event.target.files ?? []), true);
  document.addEventListener("drop", (event) => refuse(event, event.dataTransfer?.files ?? []), true);

  // Pasting works anywhere on the page, as if the picture had been chosen as a file.
  document.addEventListener("paste", (event) => {
    const pictures = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    const input = find("#picture input[type=file]");
    if (!pictures.length || !input) return;
    event.preventDefault();
    const chosen = new DataTransfer();
    chosen.items.add(pictures[0]);
    input.files = chosen.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // Readers who do not see the page hear the status, and the keyboard goes on from the answer.
  const prepare = () => {
    const status = find("#status");
    const result = find("#result");
    if (!status || !result) return false;
    status.setAttribute("role", "status");
    status.setAttribute("aria-live", "polite");
    new MutationObserver(() => find("#answer")?.focus()).observe(result, { childList: true, subtree: true });
    return true;
  };
  const waiting = new MutationObserver(() => prepare() && waiting.disconnect());
  waiting.observe(document.documentElement, { childList: true, subtree: true });
})();
