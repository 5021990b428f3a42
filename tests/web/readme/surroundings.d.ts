// What the blocks of the guide take from packages that have no types here.
declare module "ws" {
  const WebSocket: unknown;
  export default WebSocket;
}
declare module "node:url" {
  export function fileURLToPath(url: URL): string;
}
declare module "node:events" {
  export class EventEmitter {
    on(type: string, listener: (...words: any[]) => void): this;
    once(type: string, listener: (...words: any[]) => void): this;
  }
}
declare function require(name: "electron"): typeof import("electron");
interface ImportMeta {
  url: string;
}
