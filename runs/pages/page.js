"use strict";

// Listens on the document, so it needs no set-up per card and works for thousands.
(() => {
  document.documentElement.classList.add("js");

  const sliderOf = (event) => event.target.closest?.(".frame input[type=range]");

  document.addEventListener("input", (event) => {
    const slider = sliderOf(event);
    if (slider) showSplit(slider);
  });

  function showSplit(slider) {
    const percent = Number(slider.value);
    slider.closest(".frame").style.setProperty("--split", String(percent));
    slider.setAttribute("aria-valuetext", `${Math.round(percent)}% before`);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".enlarge");
    if (button) openViewer(button.closest(".card"));
  });

  // One dialog for the page, made when it is first needed.
  let viewer = null;

  function openViewer(card) {
    viewer ??= makeViewer();
    viewer.show(card);
  }

  function makeViewer() {
    const dialog = document.createElement("dialog");
    dialog.className = "viewer";
    const place = element("div", "viewer-place");
    const bar = element("div", "viewer-bar");
    const name = element("span", "name");
    name.id = "viewer-name";
    name.dir = "auto";
    dialog.setAttribute("aria-labelledby", name.id);
    const previous = button("Previous", () => show(current.previousElementSibling));
    const next = button("Next", () => show(current.nextElementSibling));
    const actions = element("div", "viewer-actions");
    actions.append(previous, next, button("Close", () => dialog.close()));
    bar.append(name, actions);
    dialog.append(bar, place);
    document.body.append(dialog);
    let current = null;

    function show(card) {
      current = card;
      name.textContent = card.querySelector(".name").textContent;
      const stage = card.querySelector(".stage").cloneNode(true);
      for (const image of stage.querySelectorAll("img")) image.loading = "eager";
      place.replaceChildren(stage);
      previous.disabled = !card.previousElementSibling;
      next.disabled = !card.nextElementSibling;
      if (!dialog.open) dialog.showModal();
      stage.querySelector("input").focus({ preventScroll: true });
    }

    dialog.addEventListener("close", () => {
      place.replaceChildren();
      // The reader may have gone on from the card where the dialog was opened.
      current.querySelector(".enlarge").focus();
    });
    return { show };
  }

  function element(kind, className) {
    const made = document.createElement(kind);
    made.className = className;
    return made;
  }

  function button(label, action) {
    const made = element("button", "");
    made.type = "button";
    made.textContent = label;
    made.addEventListener("click", action);
    return made;
  }
})();
