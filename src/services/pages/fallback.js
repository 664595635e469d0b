// For browsers that know neither modules nor WebSocket: no newer syntax here.
(function () {
  var notice = document.getElementById("no-websocket");
  if (!window.WebSocket && notice) {
    notice.hidden = false;
  }
}());
