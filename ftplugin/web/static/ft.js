// Refreshes the status part of the page, and says so when it cannot: old is never shown as new.
(function () {
  "use strict";
  var box = document.getElementById("ft-status");
  var contact = document.getElementById("ft-contact");
  var words = document.getElementById("ft-contact-text");
  var link = document.getElementById("ft-contact-link");
  var announce = document.getElementById("ft-announce");
  if (!box || !contact || !window.fetch) { return; }
  var period = Number(box.dataset.refreshMs) || 2000;
  var lastGood = new Date(), lostAt = null, timer = 0, running = false;
  var roles = rolesIn(box);

  function time(moment) { return moment.toLocaleTimeString(); }
  function rolesIn(part) {
    var found = part.querySelector("#ft-roles");
    return found ? found.dataset.text : "";
  }

  // A change only when the text is another one: the region is read out at each change.
  function say(element, text) { if (element.textContent !== text) { element.textContent = text; } }

  function lost(text, code, loggedOut) {
    lostAt = lostAt || new Date();
    box.classList.add("ft-old");
    text = text.replace("{time}", time(lostAt)).replace("{code}", code);
    say(words, text + " " + box.dataset.shown.replace("{time}", time(lastGood)));
    link.hidden = !loggedOut;
    contact.hidden = false;
  }

  function found(html) {
    var part = document.createElement("div");
    part.innerHTML = html;
    patch(box, part);
    box.classList.remove("ft-old");
    contact.hidden = true;
    say(words, "");
    lostAt = null;
    lastGood = new Date();
    var now = rolesIn(box);
    if (announce && now !== roles) { say(announce, now); }
    roles = now;
  }

  // Make ``old`` like ``fresh`` and touch nothing that is alike: focus, scroll position, selected text, an open <details>
  // and what somebody has typed stay. A node is never moved, which would cost it its focus: blocks keep their order, so
  // what stands before a block that is found again is gone.
  function patch(old, fresh) {
    var next = old.firstChild, wanted = fresh.firstChild;
    while (wanted) {
      var after = wanted.nextSibling, same = wanted.id ? fromHere(next, wanted.id) : next;
      if (same && alike(same, wanted)) {
        next = removeUntil(old, next, same).nextSibling;
        if (same.nodeType === 1) { attributes(same, wanted); patch(same, wanted); }
        else if (same.nodeValue !== wanted.nodeValue) { same.nodeValue = wanted.nodeValue; }
      } else {
        old.insertBefore(wanted, next);
      }
      wanted = after;
    }
    removeUntil(old, next, null);
  }

  function removeUntil(parent, first, end) {
    while (first !== end) {
      var gone = first;
      first = first.nextSibling;
      parent.removeChild(gone);
    }
    return end;
  }

  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
  }

  function fromHere(child, id) {
    while (child && child.id !== id) { child = child.nextSibling; }
    return child;
  }

  function attributes(old, fresh) {
    var i, name;
    for (i = old.attributes.length - 1; i >= 0; i--) {
      name = old.attributes[i].name;
      if (name !== "open" && !fresh.hasAttribute(name)) { old.removeAttribute(name); }
    }
    for (i = 0; i < fresh.attributes.length; i++) {
      name = fresh.attributes[i].name;
      if (name !== "open" && old.getAttribute(name) !== fresh.attributes[i].value) {
        old.setAttribute(name, fresh.attributes[i].value);
      }
    }
  }

  function refresh() {
    clearTimeout(timer);
    if (running || document.hidden) { return; }
    running = true;
    var stop = new AbortController();
    var limit = setTimeout(function () { stop.abort(); }, Math.max(3000, period));
    fetch(box.dataset.url, { credentials: "same-origin", redirect: "manual", signal: stop.signal, cache: "no-store" })
      .then(function (answer) {
        if (answer.ok && answer.headers.get("X-FT-Status")) {
          period = Number(answer.headers.get("X-FT-Refresh-Ms")) || period;
          return answer.text().then(found);
        }
        if (answer.ok || answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
          lost(box.dataset.out, "", true);
        } else {
          lost(box.dataset.error, answer.status, false);
        }
      })
      .catch(function () { lost(box.dataset.lost, "", false); })
      .then(function () {
        clearTimeout(limit);
        running = false;
        if (!document.hidden) { timer = setTimeout(refresh, period); }
      });
  }

  // Hidden: no questions. Shown again, or woken from sleep: what stands there is old until an answer says otherwise.
  document.addEventListener("visibilitychange", function () {
    if (document.hidden) { clearTimeout(timer); return; }
    if (Date.now() - lastGood.getTime() > 3 * period) { box.classList.add("ft-old"); }
    refresh();
  });
  setInterval(function () {
    if (Date.now() - lastGood.getTime() > 3 * period + 3000) { box.classList.add("ft-old"); }
  }, 1000);
  window.addEventListener("pageshow", function (event) { if (event.persisted) { refresh(); } });
  timer = setTimeout(refresh, period);
})();
