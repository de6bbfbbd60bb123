// Choose, drop or paste images; predict them one by one; show the answers as they arrive. The form also works without scripts.
"use strict";

const form = document.getElementById("ask");
const answers = document.getElementById("answers");
const section = document.getElementById("answers-section");

if (form) {
  const input = document.getElementById("images");
  const drop = document.getElementById("drop");
  const list = document.getElementById("chosen");
  const status = document.getElementById("status");
  const progress = document.getElementById("progress");
  const send = document.getElementById("send");
  const all = document.getElementById("all-csv");
  const most = { images: Number(form.dataset.images), bytes: Number(form.dataset.bytes), models: Number(form.dataset.models) };
  let files = [];

  document.querySelectorAll(".scripted").forEach((element) => { element.hidden = false; });

  const say = (text, bad = false) => {
    status.textContent = text;
    status.classList.toggle("bad", bad);
  };

  const show = () => {
    list.replaceChildren(...files.map((file, index) => {
      const item = document.createElement("li");
      const picture = document.createElement("img");
      picture.alt = "";
      picture.src = URL.createObjectURL(file);
      picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
      picture.addEventListener("error", () => { picture.hidden = true; });
      const name = document.createElement("span");
      name.textContent = file.name;
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${file.name}`);
      remove.addEventListener("click", () => {
        files.splice(index, 1);
        show();
        (list.querySelector("button") || input).focus();
      });
      item.append(picture, name, remove);
      return item;
    }));
  };

  const add = (found) => {
    const large = found.filter((file) => file.size > most.bytes);
    const fit = found.filter((file) => file.size <= most.bytes);
    const room = most.images - files.length;
    files = files.concat(fit.slice(0, room));
    show();
    if (large.length) {
      say(`Left out, larger than ${most.bytes / 1e6} MB: ${large.map((file) => file.name).join(", ")}.`, true);
    } else if (fit.length > room) {
      say(`At most ${most.images} images at once: ${fit.length - room} left out.`, true);
    } else {
      say(`${files.length} ${files.length === 1 ? "image" : "images"} chosen.`);
    }
  };

  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", (event) => {
    if (!drop.contains(event.relatedTarget)) drop.classList.remove("over");
  });
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    if (!pasted.length) return;
    event.preventDefault();
    add(pasted);
  });
  form.addEventListener("change", (event) => {
    if (event.target.name !== "models") return;
    const chosen = form.querySelectorAll("[name=models]:checked");
    if (chosen.length > most.models) {
      event.target.checked = false;
      say(`At most ${most.models} models can be selected.`, true);
    }
    document.getElementById("count").textContent = form.querySelectorAll("[name=models]:checked").length;
  });

  // Predict one image; the response is a card rendered by the server.
  const ask = async (job, heatmap) => {
    const body = new FormData();
    if (job.file) body.append("images", job.file, job.file.name);
    else body.append("sample", job.sample);
    form.querySelectorAll("[name=models]:checked").forEach((box) => body.append("models", box.value));
    body.append("heatmap", heatmap);
    if (heatmap === "none" && form.elements.keep.checked) body.append("keep", "yes");
    const response = await fetch("/predict", { method: "POST", body, headers: { "X-Fragment": "1" } });
    if (!response.ok) {
      const problem = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
      throw new Error(problem.detail);
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    return document.importNode(page.querySelector("article"), true);
  };

  const failed = (name, words) => {
    const card = document.createElement("article");
    card.className = "card answer";
    const title = document.createElement("h3");
    title.textContent = name;
    const box = document.createElement("div");
    box.className = "notice bad";
    const text = document.createElement("p");
    text.textContent = words;
    box.append(text);
    card.append(title, box);
    return card;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const jobs = files.map((file) => ({ file, name: file.name }));
    form.querySelectorAll("[name=sample]:checked").forEach((box) => jobs.push({ sample: box.value, name: box.value }));
    if (!jobs.length) { say("Choose an image or a sample first.", true); input.focus(); return; }
    if (!form.querySelector("[name=models]:checked")) { say("Choose at least one model.", true); return; }
    send.disabled = true;
    progress.hidden = false;
    progress.max = jobs.length;
    progress.value = 0;
    section.hidden = false;
    answers.replaceChildren();
    const wanted = form.elements.heatmap.value;
    let bad = 0;
    for (const [index, job] of jobs.entries()) {
      say(`Predicting ${job.name} (${index + 1} of ${jobs.length}) …`);
      try {
        const card = await ask(job, "none");
        answers.append(card);
        wire(card);
        if (wanted !== "none") {
          say(`Computing heatmaps of ${job.name} (${index + 1} of ${jobs.length}) …`);
          try {
            const whole = await ask(job, wanted);
            const kept = card.querySelector(".kept");
            if (kept) whole.querySelector(".answer-head").append(kept);
            card.replaceWith(whole);
            wire(whole);
          } catch (error) {  // the answers are shown anyway
            const words = document.createElement("p");
            words.textContent = `No heatmaps: ${error.message}`;
            card.append(words);
          }
        }
      } catch (error) {
        bad += 1;
        const words = error instanceof TypeError ? "The server cannot be reached. Is it still running?" : error.message;
        answers.append(failed(job.name, words));
      }
      progress.value = index + 1;
    }
    const done = jobs.length - bad;
    say(`${done} of ${jobs.length} ${jobs.length === 1 ? "image" : "images"} answered.`, bad > 0);
    send.disabled = false;
    progress.hidden = true;
    all.hidden = answers.querySelectorAll("a.csv").length < 2;
    document.getElementById("answers-title").focus({ preventScroll: false });
  });

  all.addEventListener("click", () => {
    const texts = [...answers.querySelectorAll("a.csv")].map((link) => {
      const bytes = Uint8Array.from(atob(link.href.split(",")[1]), (letter) => letter.charCodeAt(0));
      return new TextDecoder().decode(bytes);
    });
    const rows = texts.map((text, index) => (index ? text.slice(text.indexOf("\n") + 1) : text));
    save(new Blob(rows, { type: "text/csv;charset=utf-8" }), "answers.csv");
  });
}

// Give a card its outline switch, its slider and its downloads.
function wire(card) {
  const toggle = card.querySelector(".outline-switch");
  toggle?.addEventListener("change", () => card.classList.toggle("outlined", toggle.checked));
  const slider = card.querySelector(".opacity");
  if (slider) {
    slider.closest("label").hidden = false;
    slider.addEventListener("input", () => {
      const words = `${slider.value} %`;
      slider.nextElementSibling.textContent = words;
      slider.setAttribute("aria-valuetext", words);
      card.querySelectorAll(".heat").forEach((layer) => { layer.style.opacity = slider.value / 100; });
    });
  }
  card.querySelectorAll(".save-png").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => draw(button, slider.value / 100));
  });
}

// Draw image, heatmap and text into one PNG, as shown.
function draw(button, opacity) {
  const [picture, heat] = button.closest(".model").querySelectorAll(".stack img");
  const factor = Math.max(1, Math.ceil(448 / picture.naturalWidth));
  const width = picture.naturalWidth * factor;
  const height = picture.naturalHeight * factor;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height + 56;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, width, height);
  pen.globalAlpha = opacity;
  pen.drawImage(heat, 0, 0, width, height);
  pen.globalAlpha = 1;
  pen.fillStyle = "#17202b";
  pen.font = "bold 17px sans-serif";
  pen.fillText(button.dataset.words, 8, height + 23, width - 16);
  pen.font = "14px sans-serif";
  pen.fillText(button.dataset.notice, 8, height + 45, width - 16);
  canvas.toBlob((blob) => save(blob, button.dataset.file), "image/png");
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

answers?.querySelectorAll("article").forEach(wire);
