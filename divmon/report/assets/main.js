const data = JSON.parse(byId("data").textContent);
drawSamples();
startStages(data);
startCharts(data);
startScatter(data);
if (data.prompts) {
  const prompts = new Prompts(data.prompts), cards = new Cards(prompts);
  new ChangeMap(prompts, (row) => cards.open(row));
  prompts.listen();
}
