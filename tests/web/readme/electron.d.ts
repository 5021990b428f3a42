// Types of Electron as far as the guide uses it, from its documentation.
import type { EventEmitter } from "node:events";

export interface WebContents extends EventEmitter {
  readonly id: number;
  send(channel: string, ...words: unknown[]): void;
  isDestroyed(): boolean;
}
export interface IpcMainEvent {
  sender: WebContents;
}
export const ipcMain: { on(channel: string, listener: (event: IpcMainEvent, ...words: any[]) => void): void };
export const ipcRenderer: {
  on(channel: string, listener: (event: object, ...words: any[]) => void): void;
  send(channel: string, ...words: unknown[]): void;
  removeAllListeners(channel: string): void;
};
export const contextBridge: { exposeInMainWorld(name: string, value: object): void };
export const powerMonitor: { on(type: "suspend" | "resume", listener: () => void): void };
export const app: { whenReady(): Promise<void>; on(type: "will-quit", listener: () => void): void };
export class BrowserWindow {
  constructor(options: { webPreferences?: { preload?: string } });
  loadFile(path: string): Promise<void>;
}
