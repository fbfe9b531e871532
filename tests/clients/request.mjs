// node:http with the proxy given by hand: what an app on Node 20 has to do.
import http from "node:http";
const proxy = new URL(process.env.HTTP_PROXY);
const url = process.argv[2];
http.get({ host: proxy.hostname, port: proxy.port, path: url, headers: { host: new URL(url).host } }, (answer) => {
  let body = "";
  answer.on("data", (part) => (body += part));
  answer.on("end", () => console.log(answer.statusCode, body.trim()));
});
