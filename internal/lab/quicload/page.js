// What a page does: requests at even times, whatever the answers do, and a transfer. It is evaluated in a page of the host's own, since other
// pages may not read the fields of its answers.
(() => {
  const clock = () => performance.timeOrigin + performance.now();
  const records = [], open = new Map(), byURL = new Map();
  let made = 0, connections = 1, connected = 0, timer; // the first connection is the page's

  // The protocol and the connection are in the timings, which come after the answer. All requests that waited for a new connection have the
  // time of its setup, later ones have none.
  const learn = entries => {
    for (const e of entries) {
      const r = byURL.get(e.name);
      if (!r) continue;
      byURL.delete(e.name);
      if (e.connectEnd > e.connectStart && e.connectEnd > connected + 1) {
        connections++;
        connected = e.connectEnd;
      }
      r.protocol = e.nextHopProtocol;
      r.connection = connections;
    }
  };
  const observer = new PerformanceObserver(list => learn(list.getEntries()));
  observer.observe({type: "resource"});

  async function ask(path) {
    const n = made++, url = new URL(path, location.href);
    url.searchParams.set("request", n);
    const r = {start: clock()};
    open.set(n, r);
    byURL.set(url.href, r);
    try {
      const answer = await fetch(url, {cache: "no-store"});
      r.via = answer.headers.get("via") ?? "";
      await answer.arrayBuffer();
      if (answer.status >= 400) r.err = "status " + answer.status;
    } catch (e) {
      r.err = String(e);
    }
    r.end = clock();
    open.delete(n);
    records.push(r);
  }

  // What a transfer has come to. Random bytes are sent, or none: then it is a download.
  let current = {}, moved = 0;
  function transfer(url, size) {
    const x = new XMLHttpRequest(), up = size > 0, begun = performance.now();
    let sent;
    moved = begun;
    current = {done: false, bytes: 0, stall: 0, err: ""};
    const progress = e => {
      const now = performance.now();
      current.stall = Math.max(current.stall, now - moved);
      moved = now;
      if (e) current.bytes = e.loaded;
    };
    const end = async err => {
      progress();
      const t = current;
      t.took = performance.now() - begun;
      t.err = err || (x.status >= 400 ? "status " + x.status : "");
      t.via = x.getResponseHeader("via") ?? "";
      t.digest = x.getResponseHeader("repr-digest") ?? "";
      const entry = performance.getEntriesByType("resource").findLast(e => e.name === x.responseURL);
      t.protocol = entry ? entry.nextHopProtocol : "";
      if (!t.err) {
        const body = up ? sent : x.response;
        t.bytes = body.byteLength;
        t.receipt = up ? new TextDecoder().decode(x.response) : "";
        t.sum = Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", body)), b => b.toString(16).padStart(2, "0")).join("");
      }
      t.done = true;
    };
    (up ? x.upload : x).onprogress = progress;
    x.onload = () => setTimeout(end); // by then the timing is there
    x.onerror = () => end("error");
    x.onabort = () => end("aborted");
    x.responseType = "arraybuffer";
    x.open(up ? "POST" : "GET", url);
    if (up) {
      sent = new Uint8Array(size);
      for (let at = 0; at < size; at += 65536) crypto.getRandomValues(sent.subarray(at, Math.min(size, at + 65536)));
      moved = performance.now();
    }
    x.send(sent);
  }

  window.quicload = {
    transfer,
    transferred: () => current.done ? current : {...current, stall: Math.max(current.stall, performance.now() - moved)},
    start(path, interval, most) {
      let next = performance.now();
      const tick = () => {
        if (made >= most) return;
        ask(path);
        next += interval;
        timer = setTimeout(tick, Math.max(0, next - performance.now()));
      };
      tick();
    },
    // answered is how many have been, with the first one's error.
    answered: () => ({count: records.length, err: records.length ? records[0].err ?? "" : ""}),
    pause() { clearTimeout(timer); return open.size; },
    report() {
      learn(observer.takeRecords());
      return {now: clock(), records, open: [...open.values()]};
    },
  };
  return true;
})()
