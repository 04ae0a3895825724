// How fast somebody decides, and what is left.

const WINDOW = 180; // seconds that count

/** Decisions a minute, from the times (seconds since 1970) at which they were made; null: too few to say. */
export function perMinute(times, now) {
  const recent = times.filter((time) => time > now - WINDOW && time <= now + 1);
  if (recent.length < 3) return null;
  const since = Math.max(now - Math.min(...recent), 1);
  return ((recent.length - 1) / since) * 60;
}

/** 1 204 of 5 000 decided · 23 a minute · 3 796 left, some 2 h 45 min. */
export function told({ all, kept, rejected }, rate) {
  const number = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");
  const left = all - kept - rejected;
  const words = [`${number(kept + rejected)} of ${number(all)} decided`];
  if (rate !== null) words.push(`${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a minute`);
  const minutes = rate ? Math.ceil(left / rate) : 0;
  const long = minutes >= 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes} min`;
  words.push(left === 0 ? "none left" : `${number(left)} left${rate ? `, some ${long}` : ""}`);
  return words.join(" · ");
}
