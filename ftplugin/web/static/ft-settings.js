// Settings page: leads to what is wrong, and says as soon as the other server has what was saved.
(function () {
  "use strict";
  var problems = document.getElementById("ft-problems");
  if (problems) { problems.focus(); }
  var box = document.getElementById("ft-replication");
  if (!box || !window.fetch || box.querySelector("[data-done]") || !box.firstElementChild) { return; }
  var shown = "";
  var lost = document.createElement("p");
  lost.className = "ft-note ft-bad";
  lost.textContent = box.getAttribute("data-lost");
  lost.hidden = true;
  box.parentNode.insertBefore(lost, box);

  function refresh() {
    if (document.hidden) { setTimeout(refresh, 2000); return; }
    var stop = new AbortController();
    var limit = setTimeout(function () { stop.abort(); }, 5000);
    fetch(box.getAttribute("data-url"), { credentials: "same-origin", redirect: "error", signal: stop.signal, cache: "no-store" })
      .then(function (answer) {
        if (!answer.ok || !answer.headers.get("X-FT-Status")) { throw new Error(); }
        return answer.text();
      })
      .then(function (text) {
        lost.hidden = true;
        box.classList.remove("ft-old");
        if (text !== shown) { box.innerHTML = shown = text; }
      })
      .catch(function () { lost.hidden = false; box.classList.add("ft-old"); })
      .then(function () {
        clearTimeout(limit);
        if (!box.querySelector("[data-done]")) { setTimeout(refresh, 2000); }
      });
  }
  setTimeout(refresh, 2000);
})();
