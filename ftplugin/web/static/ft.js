// Refreshes the status part of the page, and says so when it cannot: old is never shown as new.
(function () {
  "use strict";
  var box = document.getElementById("ft-status");
  var contact = document.getElementById("ft-contact");
  if (!box || !window.fetch) { return; }
  var period = Number(box.dataset.refreshMs) || 2000;
  var lastGood = new Date();

  function lost(text) {
    box.classList.add("ft-old");
    contact.textContent = text + " What is shown is of " + lastGood.toLocaleTimeString() + ".";
    contact.hidden = false;
  }

  function show(html) {
    var focused = document.activeElement && box.contains(document.activeElement) ? document.activeElement.id : "";
    box.innerHTML = html;
    box.classList.remove("ft-old");
    contact.hidden = true;
    lastGood = new Date();
    var again = focused ? document.getElementById(focused) : null;
    if (again) { again.focus(); }
  }

  function refresh() {
    var stop = new AbortController();
    var limit = setTimeout(function () { stop.abort(); }, Math.max(3000, period));
    fetch(box.dataset.url, { credentials: "same-origin", redirect: "manual", signal: stop.signal, cache: "no-store" })
      .then(function (answer) {
        if (answer.ok) { return answer.text().then(show); }
        if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
          lost("You are logged out: open the page again.");
        } else {
          lost("This server answers with an error (" + answer.status + ").");
        }
      })
      .catch(function () { lost("Contact with this server is lost."); })
      .then(function () { clearTimeout(limit); setTimeout(refresh, period); });
  }
  setTimeout(refresh, period);
})();
