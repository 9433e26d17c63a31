/* A study in a browser: preloads, shows, measures, and hands the answers on.

   Two drivers share the trials. On the site, every screen is on the page and answers are kept in
   localStorage; on the server, a form is sent and the next screen comes back. `data-mode` of the
   page says which. Times are those of the display's frames (requestAnimationFrame) and of the
   events themselves, in milliseconds. */

"use strict";

(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const COUNTDOWN_MS = 500; // each of 3, 2, 1 (Zhou et al. 2019, HYPE-time)
  const MASK_FRAME_MS = 30; // each picture of the mask (the same)
  // Within it, two clicks are a double click: the usual setting of Windows, GTK and Chromium.
  const DOUBLE_CLICK_MS = 500;
  const KEY_SETTING = "impasto-survey-keys";

  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const frame = () => new Promise(requestAnimationFrame);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const tenths = (ms) => Math.round(ms * 10) / 10;
  let words = {};

  // --- Storage: may be switched off, or full; then the page goes on without it ------------------

  const storage = {
    works: true,
    get(name) {
      try {
        return localStorage.getItem(name);
      } catch {
        this.works = false;
        return null;
      }
    },
    set(name, value) {
      try {
        localStorage.setItem(name, value);
      } catch {
        this.works = false;
      }
    },
    remove(name) {
      try {
        localStorage.removeItem(name);
      } catch {
        this.works = false;
      }
    },
  };

  // --- Pictures: all of them are here before the first trial ------------------------------------

  const pictures = {
    loaded: new Map(),
    pending: null,
    failed: false,
    listeners: new Set(),

    /** Fetch and decode all of some URLs, six at a time, each tried four times. */
    preload(urls) {
      const waiting = urls.filter((url) => !this.loaded.has(url));
      const total = urls.length;
      this.failed = false;
      const tell = () => {
        const done = total - urls.filter((url) => !this.loaded.has(url)).length;
        this.listeners.forEach((listener) => listener(done, total));
      };
      const work = async () => {
        for (let url = waiting.shift(); url !== undefined; url = waiting.shift()) {
          for (let wait = 300; wait <= 2400 && !this.loaded.has(url); wait *= 2) {
            await this.fetch(url).catch(() => pause(wait));
          }
          if (!this.loaded.has(url)) this.failed = true;
          tell();
        }
      };
      tell();
      this.pending = Promise.all(Array.from({ length: 6 }, work)).then(() => !this.failed);
      return this.pending;
    },

    async fetch(url) {
      const picture = new Image();
      picture.src = url;
      await picture.decode();
      this.loaded.set(url, picture);
    },
  };

  /** Show how far the loading is in a screen; resolves when all pictures are there. */
  async function waitForPictures(screen) {
    const box = $(".loading", screen);
    const [text, bar, again] = [$("p", box), $("progress", box), $("button", box)];
    const listener = (done, total) => {
      bar.max = total || 1;
      bar.value = done;
    };
    pictures.listeners.add(listener);
    // Pictures that are there at once need no word about it.
    const late = setTimeout(() => (box.hidden = false), 150);
    while (!(await pictures.pending)) {
      clearTimeout(late);
      box.hidden = again.hidden = false;
      text.textContent = words.loading_failed;
      await new Promise((done) => again.addEventListener("click", done, { once: true }));
      again.hidden = true;
      text.textContent = words.loading;
      pictures.preload(pictures.urls);
    }
    clearTimeout(late);
    pictures.listeners.delete(listener);
    box.hidden = true;
  }

  // --- A trial -----------------------------------------------------------------------------------

  let answering = null; // takes (choice, event) while a trial waits for its answer

  // When the last answer was given, or the last form sent; at first, when the page was opened. For
  // DOUBLE_CLICK_MS after it no trial can be answered, because none is shown: whatever a double
  // click's second half meets, it is no answer, and after that every click is one, however fast.
  let acted = 0;

  let runs = 0; // a later trial makes an earlier one give up

  /** Show a trial and wait for the answer; gives what was chosen and measured, null if given up. */
  async function runTrial(screen) {
    runs += 1;
    const [run, answers] = [runs, $("fieldset.answers", screen)];
    const isOver = () => run !== runs || !screen.isConnected;
    close(screen);
    await Promise.all($$(".frame img", screen).map((image) => image.decode().catch(() => {})));
    const times = isOver() ? null : await present(screen, isOver);
    if (times === null || isOver()) return null;
    answers.disabled = false;
    const { choice, at } = await new Promise((done) => {
      answering = (chosen, event) => {
        answering = null;
        answers.disabled = true;
        acted = event.timeStamp;
        $(`button[value="${chosen}"]`, answers)?.classList.add("chosen");
        done({ choice: chosen, at: event.timeStamp });
      };
    });
    return {
      choice,
      rt_ms: tenths(Math.max(0, at - times.onset)),
      exposure_ms: times.exposure === null ? null : tenths(times.exposure),
      onset: new Date(performance.timeOrigin + times.onset).toISOString(),
      viewport: `${window.innerWidth}x${window.innerHeight}`,
      device_pixel_ratio: Math.round(window.devicePixelRatio * 1000) / 1000 || 1,
    };
  }

  /** Take no answers, and hide the pictures: nothing that looks open may pass over a click. */
  function close(screen) {
    answering = null;
    $("fieldset.answers", screen).disabled = true;
    screen.classList.remove("shown", "over", "masked");
  }

  /** Show the pictures: until they are answered, or for a moment and then the mask. */
  async function present(screen, isOver) {
    const limit = screen.dataset.exposure ? Number(screen.dataset.exposure) : null;
    const masks = limit === null ? [] : $$("canvas.mask", screen).map(makeMask);
    // The countdown takes longer than a double click.
    const interval = limit === null ? 0 : await countDown(screen, isOver);
    if (limit === null) await pause(Math.max(0, acted + DOUBLE_CLICK_MS - performance.now()));
    const begun = await frame();
    if (isOver()) return null;
    screen.classList.add("shown");
    // What was changed before a frame is drawn can be seen when the next one begins.
    const onset = await frame();
    if (limit === null) return { onset, exposure: null };
    const away = hidden();
    let now = onset;
    // Hidden at the frame that comes closest to the time asked for.
    while (now - begun < limit - interval / 2 && !document.hidden) {
      now = await Promise.race([frame(), away]);
    }
    screen.classList.remove("shown");
    screen.classList.add("over");
    await showMask(screen, masks, Number(screen.dataset.mask || 0), now, away);
    say(screen, words.answer_now);
    return { onset, exposure: now - begun };
  }

  /** Resolve, with the time, when the page is put into the background. */
  function hidden() {
    return new Promise((done) => {
      const look = (event) => {
        if (!document.hidden) return;
        document.removeEventListener("visibilitychange", look);
        done(event.timeStamp);
      };
      document.addEventListener("visibilitychange", look);
    });
  }

  /** Count 3, 2, 1 while the page can be seen; gives the milliseconds between two frames. */
  async function countDown(screen, isOver) {
    const digits = $(".countdown", screen);
    const gaps = [];
    say(screen, words.get_ready);
    for (let left = 3; left > 0 && !isOver(); left -= 1) {
      digits.textContent = String(left);
      const begun = await frame();
      for (let now = begun, last = begun; now - begun < COUNTDOWN_MS; last = now) {
        now = await frame();
        gaps.push(now - last);
        // No frame for so long: the participant was away. From the beginning, then.
        if (now - last > 2 * COUNTDOWN_MS) left = 4;
      }
    }
    digits.textContent = "";
    say(screen, "");
    gaps.sort((a, b) => a - b);
    return gaps[gaps.length >> 1] || 1000 / 60;
  }

  /** Draw four pictures of coloured noise, coarse and fine, into one canvas below each other. */
  function makeMask(canvas) {
    const image = $("img", canvas.parentElement);
    const [width, height] = [96, Math.max(1, Math.round((96 * image.height) / image.width))];
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    const noises = Array.from({ length: 4 }, () => {
      const noise = context.createImageData(width, height);
      const coarse = [16, 6, 2].map((size) => grain(width, height, size));
      for (let at = 0; at < noise.data.length; at += 4) {
        const x = (at / 4) % width;
        const y = Math.floor(at / 4 / width);
        for (let band = 0; band < 3; band += 1) {
          const sum = coarse.reduce((total, one) => total + one(x, y, band), 0);
          noise.data[at + band] = 128 + 110 * sum;
        }
        noise.data[at + 3] = 255;
      }
      return noise;
    });
    return (index) => context.putImageData(noises[index % noises.length], 0, 0);
  }

  function grain(width, height, size) {
    const across = Math.ceil(width / size);
    const values = Float32Array.from(
      { length: 3 * across * Math.ceil(height / size) },
      () => Math.random() - 0.5,
    );
    return (x, y, band) =>
      values[3 * (Math.floor(y / size) * across + Math.floor(x / size)) + band];
  }

  async function showMask(screen, masks, duration, begun, away) {
    if (duration <= 0 || document.hidden) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    masks.forEach((draw) => draw(0));
    screen.classList.add("masked");
    for (let now = begun; now - begun < duration && !document.hidden; ) {
      now = await Promise.race([frame(), away]);
      if (!still) masks.forEach((draw) => draw(Math.floor((now - begun) / MASK_FRAME_MS)));
    }
    screen.classList.remove("masked");
  }

  // --- Keys --------------------------------------------------------------------------------------

  const keysAreOn = () => storage.get(KEY_SETTING) !== "off";

  function choiceOfKey({ key, code }, pair) {
    if (pair) {
      return { 1: "1", 2: "2", ArrowLeft: "1", ArrowUp: "1", ArrowRight: "2", ArrowDown: "2" }[key];
    }
    const letter = key.toLowerCase();
    if (letter === words.key_real.toLowerCase()) return "real";
    if (letter === words.key_fake.toLowerCase()) return "fake";
    // A keyboard of another script: the key that has the letter on it, too.
    if (/^[a-z]$/.test(letter)) return undefined;
    if (code === `Key${words.key_real.toUpperCase()}`) return "real";
    if (code === `Key${words.key_fake.toUpperCase()}`) return "fake";
    return undefined;
  }

  function onKey(event) {
    if (!answering || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!keysAreOn()) return;
    const choice = choiceOfKey(event, Boolean($("section:not([hidden]) .pick")));
    if (!choice) return;
    event.preventDefault();
    answering(choice, event);
  }

  /** Answer by a button. */
  function onClick(event) {
    const button = event.target.closest?.("button[type=submit]");
    if (!button) return;
    if (button.name === "choice") {
      event.preventDefault();
      answering?.(button.value, event);
    } else if (event.detail > 1 && event.timeStamp - acted < DOUBLE_CLICK_MS) {
      // The second half of a double click would go on from what nobody has read.
      event.preventDefault();
    }
  }

  function watchKeySetting(screen) {
    const box = $("#use-keys", screen);
    if (!box) return;
    box.checked = keysAreOn();
    box.addEventListener("change", () => storage.set(KEY_SETTING, box.checked ? "on" : "off"));
  }

  // --- Screens -----------------------------------------------------------------------------------

  /** What every screen needs once it is shown: the top of the page, and the focus. */
  function enter(screen) {
    const name = screen.dataset.screen;
    root.dataset.screen = name;
    root.classList.remove("moved");
    window.scrollTo(0, 0);
    watchKeySetting(screen);
    const target = name === "feedback" ? $(".main-button", screen) : $("h1", screen);
    target?.focus({ preventScroll: true });
  }

  /** The picture of the site or of the server, from those that were loaded. */
  function setPicture(image, url) {
    if (image.getAttribute("src") !== url) image.src = url;
  }

  function say(screen, text) {
    const status = $(".status", screen);
    if (status && status.textContent !== text) status.textContent = text;
  }

  // --- The server --------------------------------------------------------------------------------

  const server = {
    async start() {
      const main = $("#main");
      pictures.urls = JSON.parse(main.dataset.pictures || "[]");
      pictures.preload(pictures.urls);
      // A page that comes out of the browser's memory may show what is over.
      window.addEventListener("pageshow", (event) => event.persisted && location.reload());
      document.addEventListener("submit", (event) => this.submit(event));
      this.show();
    },

    async show() {
      const screen = $("#main > section");
      if (!screen) return;
      enter(screen);
      if (screen.dataset.screen === "instructions") {
        const button = $(".main-button", screen);
        button.disabled = true;
        await waitForPictures(screen);
        button.disabled = false;
      } else if (screen.dataset.screen === "trial") {
        close(screen);
        await waitForPictures(screen);
        $$(".frame img[data-url]", screen).forEach((i) => setPicture(i, i.dataset.url));
        const measured = await runTrial(screen);
        if (measured) this.send(screen, $("form", screen), measured);
      }
    },

    submit(event) {
      const form = event.target;
      const screen = form.closest("section");
      if (!screen) return;
      // The first form begins the study by an ordinary request, with a page of its own after it; a
      // second click begins no second session. Where that page does not come, it may be sent again.
      if (!form.action.endsWith("/next")) {
        if (form.dataset.sent) return event.preventDefault();
        form.dataset.sent = "yes";
        setTimeout(() => delete form.dataset.sent, 10000);
        return;
      }
      event.preventDefault();
      if (screen.dataset.screen === "trial") return;
      acted = event.timeStamp;
      this.send(screen, form, {});
    },

    async send(screen, form, measured) {
      if (screen.dataset.sending) return;
      screen.dataset.sending = "yes";
      const body = new URLSearchParams();
      for (const input of $$("input[type=hidden]", form)) body.set(input.name, input.value);
      for (const [name, value] of Object.entries(measured)) {
        if (value !== null) body.set(name, String(value));
      }
      const late = setTimeout(() => say(screen, words.saving), 600);
      const html = await this.deliver(form.action, body, screen);
      clearTimeout(late);
      const page = new DOMParser().parseFromString(html, "text/html");
      const next = $("#main > section", page);
      if (!next) return location.reload();
      screen.replaceWith(document.importNode(next, true));
      document.title = page.title || document.title;
      this.show();
    },

    /** Send until there is an answer: an answer that was taken already is not taken twice. */
    async deliver(url, body, screen) {
      for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
        let longer = 0;
        try {
          const abort = new AbortController();
          const limit = setTimeout(() => abort.abort(), 15000);
          const response = await fetch(url, {
            method: "POST",
            body,
            headers: { "X-Requested-With": "survey.js" },
            credentials: "same-origin",
            cache: "no-store",
            signal: abort.signal,
          });
          const text = await response.text();
          clearTimeout(limit);
          if (response.status < 500 && response.status !== 429) return text;
          longer = 1000 * Number(response.headers.get("Retry-After") || 0);
        } catch {
          longer = 0;
        }
        say(screen, words.connection_lost);
        await pause(Math.max(wait, Math.min(longer, 60000)));
      }
    },
  };

  // --- The owner's page ---------------------------------------------------------------------------

  const results = {
    start() {
      setInterval(() => document.hidden || this.renew(), 10000);
    },

    async renew() {
      try {
        const response = await fetch(location.href, { cache: "no-store" });
        if (!response.ok) return;
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        $("#main").replaceWith(document.importNode($("#main", page), true));
      } catch {
        // The server is not there at the moment: what is shown stays.
      }
    },
  };

  // --- The site ----------------------------------------------------------------------------------

  const PARTICIPANT = /^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}$/; // also in survey/serve/sessions.py

  const site = {
    study: null,
    state: null,
    steps: [],

    start() {
      this.study = JSON.parse($("#study").textContent);
      const who = this.whoIsIt();
      if (who === null) return this.showScreen("message");
      this.state = this.load(who) || this.begin(who);
      this.order = this.study.orders[this.state.order] || [];
      this.steps = this.makeSteps();
      pictures.urls = this.urlsOfSteps();
      document.addEventListener("submit", (event) => this.submit(event));
      $("#csv").addEventListener("click", () => this.download("csv"));
      $("#json").addEventListener("click", () => this.download("json"));
      $("#another").addEventListener("click", () => this.another());
      window.addEventListener("storage", (event) => this.changedElsewhere(event));
      if (this.state.position > 0) pictures.preload(pictures.urls);
      this.show();
    },

    /** The participant as the URL or an earlier visit says; null if the URL's is none. */
    whoIsIt() {
      const given = new URLSearchParams(location.search);
      const first = (...names) => names.map((name) => given.get(name)).find(Boolean);
      const participant = first("PROLIFIC_PID", "workerId", "participant");
      const session = first("SESSION_ID", "assignmentId", "session");
      this.isPreview = session === "ASSIGNMENT_ID_NOT_AVAILABLE";
      if (participant === undefined) {
        this.isNamed = false;
        return { participant: storage.get(this.name()) || `anonymous-${randomHex(8)}` };
      }
      this.isNamed = true;
      if (![participant, session ?? "x"].every((id) => PARTICIPANT.test(id))) return null;
      return { participant, session };
    },

    name(participant) {
      const study = `impasto-survey:${this.study.survey_id}`;
      return participant ? `${study}:${participant}` : study;
    },

    load({ participant }) {
      try {
        const state = JSON.parse(storage.get(this.name(participant)));
        return state?.participant === participant && Array.isArray(state.answers) ? state : null;
      } catch {
        return null;
      }
    },

    begin({ participant, session }) {
      return {
        participant,
        session: session || randomHex(8),
        order: hash(`${this.study.survey_id}/${participant}`) % (this.study.orders.length || 1),
        position: 0,
        answers: [],
        downloaded: false,
      };
    },

    save() {
      if (!this.isNamed) storage.set(this.name(), this.state.participant);
      storage.set(this.name(this.state.participant), JSON.stringify(this.state));
    },

    /** The screens in their order, as survey/study.py makes them for the server. */
    makeSteps() {
      const { practice } = this.study;
      const steps = [{ screen: "consent" }, { screen: "instructions" }];
      practice.forEach(({ trial, answer }, index) => {
        const one = { trial, answer, number: index + 1, total: practice.length };
        steps.push({ screen: "trial", ...one }, { screen: "feedback", ...one });
      });
      if (practice.length) steps.push({ screen: "ready" });
      const total = this.order.length;
      this.order.forEach((trial, index) => {
        steps.push({ screen: "trial", trial, number: index + 1, total });
      });
      return [...steps, { screen: "thanks" }];
    },

    urlsOfSteps() {
      const tokens = new Set(this.steps.flatMap((step) => step.trial || []));
      return [...tokens].map((token) => this.study.pictures[token]);
    },

    showScreen(name) {
      for (const section of $$("#main > section")) section.hidden = section.dataset.screen !== name;
      const screen = $(`section[data-screen="${name}"]`);
      enter(screen);
      return screen;
    },

    async show() {
      const position = Math.min(this.state.position, this.steps.length - 1);
      const step = this.steps[position];
      const screen = this.showScreen(step.screen);
      if (step.screen === "consent") this.prepareConsent(screen);
      if (step.screen === "instructions") {
        const button = $(".main-button", screen);
        button.disabled = true;
        await waitForPictures(screen);
        button.disabled = false;
      }
      if (step.screen === "trial") close(screen);
      if (step.trial) this.setTrial(screen, step);
      if (step.screen === "trial") {
        await waitForPictures(screen);
        const measured = await runTrial(screen);
        if (measured && this.state.position === position) this.answer(step, measured);
      }
      if (step.screen === "thanks") {
        $(".another", screen).hidden = this.isNamed;
        if (!storage.works) window.addEventListener("beforeunload", (e) => this.warn(e));
      }
    },

    prepareConsent(screen) {
      $(".preview", screen).hidden = !this.isPreview;
      $(".main-button", screen).disabled = this.isPreview;
      this.save();
      $(".storage", screen).hidden = storage.works;
      if (!this.isPreview) pictures.preload(pictures.urls);
    },

    warn(event) {
      if (!this.state.downloaded) event.preventDefault();
    },

    setTrial(screen, step) {
      const practice = step.answer !== undefined;
      const where = fill(practice ? words.practice_where : words.trial_where, step);
      const bar = $(".bar progress", screen);
      $(".where", screen).textContent = where;
      bar.setAttribute("aria-label", where);
      bar.max = step.total;
      bar.value = step.screen === "feedback" ? step.number : step.number - 1;
      screen.classList.remove("shown", "over", "masked");
      $$(".chosen", screen).forEach((button) => button.classList.remove("chosen"));
      $$(".frame img", screen).forEach((image, index) => {
        setPicture(image, this.study.pictures[step.trial[index]]);
      });
      if (step.screen === "feedback") this.setFeedback(screen, step);
    },

    setFeedback(screen, step) {
      const { response } = this.state.answers.at(-1);
      const right = response === step.answer;
      const kind = step.trial.length > 1 ? "first" : "is";
      const verdict = $(".verdict", screen);
      verdict.textContent = right ? words.feedback_right : words.feedback_wrong;
      verdict.dataset.right = right ? "yes" : "no";
      $(".fact", screen).textContent = words[`feedback_${kind}_${step.answer}`];
    },

    submit(event) {
      event.preventDefault();
      const name = event.target.closest("section").dataset.screen;
      if (name === "trial" || name !== this.steps[this.state.position].screen) return;
      acted = event.timeStamp;
      this.advance();
    },

    answer(step, measured) {
      const stored = this.load(this.state);
      // Another window of the same study was faster.
      if (stored && stored.position > this.state.position) return this.adopt(stored);
      this.state.answers.push({
        survey_id: this.study.survey_id,
        participant: this.state.participant,
        session: this.state.session,
        trial: this.state.answers.length + 1,
        token: step.trial[0],
        other: step.trial[1] || "",
        response: this.response(measured.choice),
        rt_ms: measured.rt_ms,
        exposure_ms: measured.exposure_ms,
        is_practice: step.answer !== undefined,
        onset: measured.onset,
        viewport: measured.viewport,
        device_pixel_ratio: measured.device_pixel_ratio,
        completed: false,
      });
      this.advance();
    },

    /** What the first picture was called: of a pair, by which one was chosen. */
    response(choice) {
      if (this.study.protocol !== "pair") return choice;
      const other = this.study.question === "real" ? "fake" : "real";
      return choice === "1" ? this.study.question : other;
    },

    advance() {
      this.state.position += 1;
      if (this.steps[this.state.position].screen === "thanks") {
        this.state.answers.forEach((answer) => (answer.completed = true));
      }
      this.save();
      this.show();
    },

    changedElsewhere(event) {
      if (event.key !== this.name(this.state.participant)) return;
      const stored = this.load(this.state);
      if (stored && stored.position > this.state.position) this.adopt(stored);
    },

    adopt(stored) {
      this.state = stored;
      answering = null;
      this.show();
    },

    download(form) {
      const { survey_id, participant } = { ...this.study, ...this.state };
      const text = form === "csv" ? table(this.state.answers) : json(this.state.answers);
      const type = form === "csv" ? "text/csv" : "application/json";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
      link.download = `${survey_id}-${participant}.${form}`.replace(/[^\w.@+-]/g, "_");
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      this.state.downloaded = true;
      this.save();
    },

    /** Begin for the next person at this device; what this one answered stays in the storage. */
    another() {
      const section = $("#another").closest("section");
      if (!this.state.downloaded && !this.asked) {
        this.asked = true;
        return say($(".another", section), words.another_unsaved);
      }
      this.state.downloaded = true;
      storage.remove(this.name());
      location.reload();
    },
  };

  /** 32 bits of a text (FNV-1a, then mixed): which order a participant gets. */
  function hash(text) {
    let value = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) {
      value = Math.imul(value ^ byte, 0x01000193);
    }
    value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
    value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
    return (value ^ (value >>> 16)) >>> 0;
  }

  function randomHex(bytes) {
    const values = crypto.getRandomValues(new Uint8Array(bytes));
    return [...values].map((value) => value.toString(16).padStart(2, "0")).join("");
  }

  // --- Files, as survey/answers.py reads and writes them -----------------------------------------

  const COLUMNS = [
    "survey_id", "participant", "session", "trial", "token", "other", "response", "rt_ms",
    "exposure_ms", "is_practice", "onset", "viewport", "device_pixel_ratio", "completed",
  ];

  function table(answers) {
    const lines = answers.map((one) => COLUMNS.map((name) => cell(name, one[name])).join(","));
    return `${[COLUMNS.join(","), ...lines].join("\n")}\n`;
  }

  function cell(name, value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "boolean") return value ? "1" : "0";
    const text = typeof value === "number" && name !== "trial" ? general(value) : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /** A number with six digits, as "%g" writes it. */
  function general(value) {
    if (value === 0) return "0";
    const [digits, power] = value.toExponential(5).split("e");
    if (power >= -4 && power < 6) return String(Number(value.toPrecision(6)));
    const sign = power.startsWith("-") ? "-" : "+";
    return `${Number(digits)}e${sign}${power.replace(/[+-]/, "").padStart(2, "0")}`;
  }

  const json = (answers) => `${JSON.stringify(answers, null, 1)}\n`;

  // --- Begin -------------------------------------------------------------------------------------

  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onClick);
  document.addEventListener("pointermove", () => root.classList.add("moved"));
  document.addEventListener("DOMContentLoaded", () => {
    words = JSON.parse($("#texts").textContent);
    ({ site, server, results })[root.dataset.mode].start();
  });
})();
