// Starts what the tests below test/ share; its addresses reach them through the environment.
module.exports = async (globalConfig) => {
  require('./typescript.cjs');
  await require('./services.ts').startServices(globalConfig.rootDir);
};
