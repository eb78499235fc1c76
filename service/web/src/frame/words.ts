/** The words around every screen: menu, account, connection, notifications. */

import { digits, say, saying } from "../words/say";

export const frameWords = {
  skip: say("本文へ移動", "Skip to the content"),
  navigation: say("メインメニュー", "Main menu"),
  chatwork: say("Chatwork連携", "Chatwork settings"),
  jobs: say("ジョブ", "Jobs"),
  companies: say("会社", "Companies"),
  audit: say("監査", "Audit"),
  account: say("アカウント", "Account"),
  admin: say("管理者", "Admin"),
  employee: say("一般ユーザー", "Employee"),
  auditor: say("監査人", "Auditor"),
  signOut: say("サインアウト", "Sign out"),
  language: say("言語", "Language"),
  theme: say("表示", "Theme"),
  themeAuto: say("システムに合わせる", "Like the system"),
  themeLight: say("ライト", "Light"),
  themeDark: say("ダーク", "Dark"),
  apiDocs: say("API ドキュメント", "API documentation"),
  live: say("ライブ", "Live"),
  liveHint: say("変化はすぐに画面に反映されます", "Changes appear at once"),
  connecting: say("接続中", "Connecting"),
  connectingHint: say("サーバーに接続しています", "Connecting to the server"),
  reconnecting: say("再接続中", "Reconnecting"),
  reconnectingHint: say("接続が切れました。再接続しています", "The connection broke. Reconnecting"),
  polling: say("2秒ごとに更新", "Every 2 s"),
  pollingHint: say(
    "ライブ接続ができないため、2秒ごとに更新しています",
    "No live connection: the page asks for changes every 2 seconds",
  ),
  noNetwork: say("オフライン", "Offline"),
  noNetworkHint: say(
    "ネットワークに接続していないため、更新していません",
    "There is no network, so nothing is updated",
  ),
  offline: say(
    "オフラインです。表示されている内容は最新でない可能性があります。接続が戻りしだい更新します。",
    "You are offline. What you see may be out of date; the page updates itself when you are back online.",
  ),
  modelShutdown: saying(
    (model: string, on: string) =>
      `要約に使うモデル ${model} は ${on} に提供が終わります。それまでに OPENAI_MODEL を別のモデルに変えてください。`,
    (model: string, on: string) =>
      `The model that writes summaries, ${model}, is shut down on ${on}. Set OPENAI_MODEL to another before that day.`,
  ),
  dismiss: say("通知を閉じる", "Dismiss"),
  notifications: say("通知", "Notifications"),
  notSignedOut: say(
    "サーバーに接続できなかったため、サインアウトできませんでした。",
    "The server did not answer: you are still signed in.",
  ),
  toastCompleted: saying(
    (what: string) => `${what}が完了しました`,
    (what: string) => `${what}: completed`,
  ),
  toastFailed: saying(
    (what: string) => `${what}が失敗しました`,
    (what: string) => `${what}: failed`,
  ),
  toastCanceled: saying(
    (what: string) => `${what}はキャンセルされました`,
    (what: string) => `${what}: canceled`,
  ),
  toastMany: saying(
    (completed: number, failed: number, canceled: number) =>
      `ジョブが終了しました: 完了 ${digits(completed)}、失敗 ${digits(failed)}、キャンセル済み ${digits(canceled)}`,
    (completed: number, failed: number, canceled: number) =>
      `Jobs ended: ${digits(completed)} completed, ${digits(failed)} failed, ${digits(canceled)} canceled`,
  ),
} as const;
