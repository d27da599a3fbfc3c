// Sets theme and density before the first paint. What it reads is written by src/app/preferences.ts.
(function () {
  var root = document.documentElement;
  var read = function (name) {
    try {
      return localStorage.getItem('gptload.' + name);
    } catch {
      return null;
    }
  };
  var theme = read('theme');
  if (theme !== 'light' && theme !== 'dark') {
    theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  }
  root.dataset.theme = theme;
  var density = read('density');
  if (density !== 'compact' && density !== 'comfortable') {
    density = innerHeight < 800 && innerWidth >= 768 ? 'compact' : 'comfortable';
  }
  root.dataset.density = density;
})();
