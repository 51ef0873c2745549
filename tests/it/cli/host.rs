//! The token commands inside of a host: the example `opencode`.

use snapbox::str;

use super::support::{Home, Outcome};
use crate::support::example;

#[test]
fn hints_name_the_commands_and_the_url_of_the_host() {
    let opencode = example("opencode");
    let home = Home::new();
    let run = |arguments: &[&str]| {
        let mut command = home.program(opencode.to_str().unwrap());
        Outcome::of(command.args(["auth", "token"]).args(arguments))
    };
    run(&["list"]).is(0, "", str![[r#"
There are no tokens: the file `[HOME]/.config/opencode/auth-tokens.json` does not exist. Create a token with: opencode auth token create

"#]]);
    run(&["create", "--name", "ci"]).is(
        0,
        str![[r#"
[TOKEN]

"#]],
        str![[r#"
Created the token [ID] (ci).
  permissions  read,write,execute
  expires      [TIME], in 90 days
  stored in    [HOME]/.config/opencode/auth-tokens.json (as a hash)
The token is shown only this once. To try it, put it into the variable TOKEN and run:
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4096/session

"#]],
    );
    run(&["delete", "nobody", "--store", "t.json"]).is(1, "", str![[r#"
error: failed to delete the token: no token has the id or name `nobody`; list the tokens with: opencode auth token --store 't.json' list

"#]]);
    let help = run(&["rotate", "--help"]).stdout;
    assert!(help.contains("TOKEN=$(opencode auth token rotate ci)"), "{help}");
}
