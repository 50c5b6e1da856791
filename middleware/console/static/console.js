// Two things; all else works without a script.  The first copies the text of the element that a button names.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const range = document.createRange(); // without https browsers let nobody write: select it instead
    range.selectNodeContents(document.getElementById(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }
});

// Keeps the focus where it was when a part of the page is replaced: on what stands in the same place, else on the part.
const STOPS = "a[href], button, input, select, textarea, summary, [tabindex]";
let place = null;
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  // what follows a call goes on when the server is back
  if (detail.xhr.status >= 500 && detail.requestConfig.verb === "get") detail.shouldSwap = false;
  const focused = document.activeElement;
  place = detail.target.contains(focused) ? [...detail.target.querySelectorAll(STOPS)].indexOf(focused) : null;
});
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (place === null || document.activeElement !== document.body) return;
  const part = document.getElementById(detail.target.id) || document.getElementById("main");
  const same = part.querySelectorAll(STOPS)[place];
  if (!same) part.tabIndex = -1;
  (same || part).focus({ preventScroll: true });
  place = null;
});
