/** The words of the screen "sign-in". */

import { counted, digits, say, saying } from "../../words/say";

export const signInWords = {
  signIn: say("サインイン", "Sign in"),
  signInIntro: say(
    "Chatwork の同期と要約の下書きを、履歴つきで。",
    "Chatwork syncs and summary drafts, with their whole history.",
  ),
  email: say("メールアドレス", "Email"),
  password: say("パスワード", "Password"),
  signingIn: say("サインインしています…", "Signing in…"),
  wrongPassword: say("メールアドレスまたはパスワードが正しくありません。", "The email or the password is wrong."),
  tooManyTries: saying(
    (seconds: number) => `試行回数が多すぎます。${digits(seconds)} 秒後にもう一度お試しください。`,
    (seconds: number) => `Too many tries. Try again in ${counted(seconds, "second")}.`,
  ),
  sessionEnded: say(
    "セッションの有効期限が切れました。サインインすると、元の画面に戻ります。",
    "Your session has ended. Sign in, and you are back where you were.",
  ),
  signedOutNow: say("サインアウトしました。", "You are signed out."),
} as const;
