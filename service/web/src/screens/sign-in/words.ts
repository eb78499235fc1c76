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
  signInWithProvider: say("組織のアカウントでサインイン", "Sign in with your organisation’s account"),
  providerCanceled: say("サインインを取り消しました。", "You canceled the sign-in."),
  providerExpired: say(
    "サインインに時間がかかりすぎたか、別のブラウザーで始められました。もう一度お試しください。",
    "The sign-in took too long, or it began in another browser. Try again.",
  ),
  providerFailed: say(
    "組織の認証サービスから正しい応答がありません。しばらくしてからもう一度お試しください。",
    "Your organisation’s sign-in service does not answer as it should. Try again later.",
  ),
  providerNotVerified: say(
    "組織の認証サービスの応答を確認できませんでした。管理者にお知らせください。",
    "The answer of your organisation’s sign-in service could not be verified. Tell your administrator.",
  ),
  providerEmailMissing: say(
    "組織のアカウントにメールアドレスがありません。管理者にお知らせください。",
    "Your organisation’s account has no email address. Tell your administrator.",
  ),
  providerEmailNotVerified: say(
    "組織のアカウントのメールアドレスが確認されていません。確認してから、もう一度お試しください。",
    "The email address of your organisation’s account is not verified. Verify it, then try again.",
  ),
  providerEmailTaken: say(
    "このメールアドレスのアカウントはすでにあります。パスワードでサインインしてください。",
    "There is already an account with this email address. Sign in with its password.",
  ),
  providerDisabled: say(
    "このアカウントは無効になっています。管理者にお知らせください。",
    "This account is disabled. Tell your administrator.",
  ),
  sessionEnded: say(
    "セッションの有効期限が切れました。サインインすると、元の画面に戻ります。",
    "Your session has ended. Sign in again to return to this screen.",
  ),
  signedOutNow: say("サインアウトしました。", "You are signed out."),
} as const;
