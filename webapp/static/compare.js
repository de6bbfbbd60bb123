// Updates parts of the pages below "Compare" without a reload; links and forms also work without scripts.
"use strict";

// Sort the leaderboard: the header is a link to the sorted page, of which only the tables are used.
const boards = document.getElementById("boards");
if (boards) {
  // A focused element may be hidden by the sticky column: scroll it to the middle.
  boards.addEventListener("focusin", (event) => {
    if (event.target.matches("table :focus-visible")) event.target.scrollIntoView({ block: "nearest", inline: "center" });
  });
  boards.addEventListener("click", async (event) => {
    const link = event.target.closest("a.sort");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const board = [...boards.children].indexOf(link.closest(".wide"));
    const left = link.closest(".wide").scrollLeft;
    try {
      const answer = await fetch(link.href);
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      boards.replaceChildren(...page.getElementById("boards").children);
      history.replaceState(null, "", link.href);
      const same = boards.children[board].querySelector(`a.sort[data-sort="${link.dataset.sort}"]`);
      same.closest(".wide").scrollLeft = left;
      same.focus({ preventScroll: true });
    } catch {
      location.assign(link.href);
    }
  });
}

// Show only the rows that contain every word.
for (const input of document.querySelectorAll("input[data-filter]")) {
  const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  const said = document.getElementById(input.getAttribute("aria-describedby"));
  const texts = rows.map((row) => row.textContent.toLowerCase());
  input.closest(".filter").hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, k) => { row.hidden = !words.every((word) => texts[k].includes(word)); });
    const left = rows.filter((row) => !row.hidden).length;
    said.textContent = words.length ? `${left} of ${rows.length} runs` : "";
  });
}

// Replace the image by its heatmap, computed on demand.
const WHY = { 404: "There is no heatmap for this image.", 422: "This method does not fit this model.", 503: "The server is busy. Try again in a moment." };
for (const link of document.querySelectorAll("a[data-look]")) {
  link.setAttribute("role", "button");
  link.setAttribute("aria-pressed", "false");
  const words = link.textContent;
  const said = document.createElement("p");
  said.className = "soft";
  said.setAttribute("role", "status");
  link.after(said);
  let seen = "";
  const look = async () => {
    const image = link.closest(".shot").querySelector("img.smear");
    if (!image) return;
    image.dataset.plain ??= image.getAttribute("src");
    if (link.getAttribute("aria-pressed") === "true") {
      image.src = image.dataset.plain;
      link.setAttribute("aria-pressed", "false");
      link.textContent = words;
      return;
    }
    if (!seen) {
      if (link.getAttribute("aria-busy") === "true") return;
      link.setAttribute("aria-busy", "true");
      said.textContent = "Computing the heatmap …";
      try {
        const answer = await fetch(link.href);
        if (!answer.ok) throw new Error(WHY[answer.status] ?? "The heatmap could not be made.");
        seen = URL.createObjectURL(await answer.blob());
        said.textContent = "";
      } catch (error) {
        said.textContent = error instanceof TypeError ? "The server does not answer." : error.message;
        return;
      } finally {
        link.removeAttribute("aria-busy");
      }
    }
    for (const other of link.closest(".shot").querySelectorAll('a[data-look][aria-pressed="true"]')) other.click();
    image.src = seen;
    link.setAttribute("aria-pressed", "true");
    link.textContent = "Show the image only";
  };
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    look();
  });
  link.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    look();
  });
}
