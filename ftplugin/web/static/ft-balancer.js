// Balancer page: the buttons that copy a file's text. Hidden where the browser cannot.
(function () {
  "use strict";
  if (!navigator.clipboard) { return; }
  Array.prototype.forEach.call(document.querySelectorAll(".ft-copy"), function (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var said = button.parentNode.querySelector("[aria-live]");
      navigator.clipboard.writeText(document.getElementById(button.getAttribute("data-copy")).textContent).then(
        function () { said.textContent = button.getAttribute("data-done"); },
        function () { said.textContent = button.getAttribute("data-failed"); }
      );
    });
  });
})();
