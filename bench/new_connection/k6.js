// The same user for k6.
import { check } from 'k6';
import http from 'k6/http';

export const options = { noCookiesReset: true, noConnectionReuse: true };

export default function () {
  const reply = http.get(`${__ENV.BENCH_URL}/visit`);
  check(reply.json(), { 'it is the first of its connection': (body) => body.request === 1 });
}
