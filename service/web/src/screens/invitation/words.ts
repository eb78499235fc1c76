/** The words of the screen "invitation". */

import { say } from "../../words/say";

export const invitationWords = {
  invitation: say("パスワードの設定", "Set your password"),
  invitationIntro: say("招待リンクは一度だけ使えます。", "The link of your invitation works once."),
  newPassword: say("新しいパスワード", "New password"),
  newPasswordHint: say(
    "12〜256文字。よく使われるパスワードは設定できません。",
    "12 to 256 characters, and not a common password.",
  ),
  setPassword: say("パスワードを設定", "Set the password"),
  passwordRefused: say(
    "このパスワードは設定できません。12〜256文字で、よく使われるもの以外にしてください。",
    "This password is not possible: choose one of 12 to 256 characters that is not common.",
  ),
  invitationNotValid: say(
    "この招待リンクは使用済みか、有効期限が切れています。管理者に新しいリンクを依頼してください。",
    "This link is unknown, used or expired. Ask an admin for a new one.",
  ),
  passwordIsSet: say("パスワードを設定しました。", "Your password is set."),
  toSignIn: say("サインインへ", "Go to the sign-in"),
} as const;
