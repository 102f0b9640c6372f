// The code stands behind the #, which browsers send to nobody; it leaves the history at once.
"use strict";
(() => {
  const enter = () => {
    const code = location.hash.slice(1);
    if (!/^[A-Za-z0-9_-]{43}$/.test(code)) return;
    history.replaceState(null, "", location.pathname);
    document.getElementById("code").value = code;
    document.getElementById("sign-in").submit();
  };
  addEventListener("hashchange", enter); // the link was opened where this page already was
  enter();
})();
