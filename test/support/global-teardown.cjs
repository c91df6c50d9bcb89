module.exports = async () => {
  await require('./services.ts').stopServices();
};
