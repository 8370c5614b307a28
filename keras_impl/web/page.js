"use strict";
const find = (selector) => document.querySelector(selector);
const [form, file, camera, video] = ["#picture", "#file", "#camera", "video"].map(find);
const [notice, status, result] = ["#notice", "#status", "#result"].map(find);

const tell = (sentence) => {
  notice.textContent = sentence;
};

// === One picture: sent to the address of this page, which comes back with the answer in it ===

const reasonAgainst = ({ name, size, type }) => {
  const limit = Number(form.dataset.maxBytes);
  if (!type.startsWith("image/")) return `The file ${name} is not a picture that this page can read.`;
  return size > limit ? `The file ${name} is larger than ${limit / 1e6} MB.` : "";
};

const ask = async (picture) => {
  const body = new FormData();
  body.append(file.name, picture);
  try {
    const response = await fetch(form.action, { method: "POST", body });
    const text = await response.text();
    if (response.headers.get("Content-Type") === "application/json") return [JSON.parse(text).error];
    const page = new DOMParser().parseFromString(text, "text/html");
    return [page.querySelector("#status").textContent, ...page.querySelector("#result").children];
  } catch {
    return ["The program does not answer. Is it still running?"];
  }
};

const show = (sentence, ...answer) => {
  status.textContent = sentence;
  result.replaceChildren(...answer);
};

let asked = 0;
const look = async (picture) => {
  const reason = reasonAgainst(picture);
  tell(reason);
  if (reason) return;
  closeCamera();
  const number = ++asked;
  document.body.classList.add("busy");
  show("Looking for faces …");
  const answer = await ask(picture);
  if (number !== asked) return; // another picture was chosen in the meantime
  document.body.classList.remove("busy");
  show(...answer);
  // The keyboard goes on from the answer.
  find("#answer")?.focus({ preventScroll: true });
  status.scrollIntoView();
};

// === From a file, by drag and drop, from the clipboard ===

file.addEventListener("change", () => {
  const [picture] = file.files;
  file.value = ""; // so that the same file may be chosen again
  if (picture) look(picture);
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  form.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) form.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  const [picture] = event.dataTransfer?.files ?? [];
  if (picture) look(picture);
  else tell("Only a file can be dropped here. Save the picture first, or copy and paste it.");
});

document.addEventListener("paste", (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
  if (picture) look(picture);
  else tell("There is no picture in the clipboard.");
});
find("#paste").hidden = !navigator.clipboard?.read;
find("#paste").addEventListener("click", async () => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((name) => name.startsWith("image/"));
      if (type) return look(new File([await item.getType(type)], "pasted", { type }));
    }
    tell("There is no picture in the clipboard.");
  } catch {
    tell("The browser does not let this page read the clipboard. Press Ctrl+V, or choose a file.");
  }
});

// === From the camera ===

const openCamera = async () => {
  tell("");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    [form.hidden, camera.hidden] = [true, false];
    find("#take").focus();
  } catch (error) {
    tell(
      error.name === "NotAllowedError"
        ? "The browser does not let this page use the camera. Allow it beside the page's address, or choose a file."
        : "No camera can be used here. Choose a file instead.",
    );
  }
};

const closeCamera = () => {
  if (camera.hidden) return;
  for (const track of video.srcObject.getTracks()) track.stop();
  video.srcObject = null;
  [form.hidden, camera.hidden] = [false, true];
  find("#open").focus();
};

const takePicture = () => {
  if (!video.videoWidth) return; // it is still starting
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  closeCamera();
  const type = "image/jpeg";
  canvas.toBlob((picture) => look(new File([picture], "camera.jpg", { type })), type, 0.95);
};

find("#open").hidden = false;
find("#open").addEventListener("click", openCamera);
find("#take").addEventListener("click", takePicture);
find("#close").addEventListener("click", closeCamera);
