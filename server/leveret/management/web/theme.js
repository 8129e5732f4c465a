// Sets the theme before the first paint. It is a classic script, because modules run after it.
(function () {
  var theme = null;
  try {
    theme = localStorage.getItem("leveret.theme");
  } catch (error) {
    // Storage is refused in some private modes: the system's theme holds.
    theme = null;
  }
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }
})();
