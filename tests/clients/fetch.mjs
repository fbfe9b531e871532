// Node's own fetch: whether it looks at the environment depends on the version.
const answer = await fetch(process.argv[2]);
console.log(answer.status, (await answer.text()).trim());
