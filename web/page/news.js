/** What the client hears, told as sentences: the connection, the streams, what was lost and what came back. */

import { channelName, connectionSentence, gapSentence, laggedSentence, stateSentences } from "./words.js";

const MOMENT = 60; // milliseconds: the streams of one exchange change together, and are told together

/** @param {import("../client.d.ts").Gateway} gateway @param {import("./events.js").Events} events */
export function tellNews(gateway, events) {
  let connectedOnce = false;
  let down = false; // each further try is an event, and no toast
  gateway.on("status", (event) => {
    if (event.status === "connecting") return;
    const sentence = connectionSentence(event, connectedOnce);
    events.tell(event.status === "open" ? "good" : "bad", sentence, { toast: connectedOnce && !(down && event.status === "reconnecting") });
    connectedOnce ||= event.status === "open";
    down = event.status === "reconnecting";
  });

  /** @type {any[]} */
  const changes = [];
  gateway.on("topic", (frame) => {
    const begins = frame.state === "connecting" || (frame.state === "live" && frame.previous === "connecting");
    if (begins) return;
    if (!changes.length) setTimeout(() => tellChanges(changes.splice(0), events), MOMENT);
    changes.push(frame);
  });

  gateway.on("gap", (gap) => {
    const wanted = gap.reason === "PAUSED"; // a hidden page asks to be sent nothing
    const level = gap.missing === 0 ? "good" : wanted ? "note" : "bad";
    events.tell(level, gapSentence(gap), { toast: level === "bad" });
  });
  gateway.on("warning", (frame) => events.tell("wait", laggedSentence(frame), { toast: true }));
  gateway.on("goaway", () => {
    events.tell("wait", "The gateway is about to end; another connection is made first.", { toast: true });
  });
  gateway.on("frame", ({ frame }) => {
    if (frame.type !== "subscribed" || !frame.resume || frame.channel === "orderbook") return;
    const { status, count } = frame.resume;
    const whole = status === "recovered";
    const what = whole ? `went on behind the last cursor, ${count ?? 0} frames replayed` : `resume ${status}`;
    events.tell(whole ? "good" : "wait", `${channelName(frame.channel)}: ${what}.`);
  });
}

/** @param {any[]} frames of one moment @param {import("./events.js").Events} events */
function tellChanges(frames, events) {
  for (const [state, same] of Map.groupBy(frames, (frame) => frame.state)) {
    const level = state === "live" ? "good" : ["stale", "resyncing"].includes(state) ? "wait" : "bad";
    const first = same.some((frame) => !(frame.attempt > 1)); // each further attempt is an event, and no toast
    for (const sentence of stateSentences(same)) events.tell(level, sentence, { toast: first && level !== "wait" });
  }
}
