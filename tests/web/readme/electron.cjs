// Stands for Electron, which does not run here: the names that the guide uses, with Node's own emitters.
const { EventEmitter } = require("node:events");

exports.ipcMain = new EventEmitter();
exports.powerMonitor = new EventEmitter();
exports.app = Object.assign(new EventEmitter(), { whenReady: async () => {} });
exports.windows = [];
exports.BrowserWindow = class {
  constructor(options) {
    this.options = options;
    exports.windows.push(this);
  }
  loadFile(file) {
    this.file = file;
  }
};
exports.exposed = {};
exports.contextBridge = { exposeInMainWorld: (name, value) => (exports.exposed[name] = value) };
exports.ipcRenderer = Object.assign(new EventEmitter(), {
  sent: new EventEmitter(),
  send(what, ...words) {
    this.sent.emit(what, ...words);
  },
});
