#!/bin/sh
# A tape behind an XRootD server, for its Generic Prepare plugin: tape.sh [options] -- REQUEST stage|evict|cancel|query FILE…
#
# A file without permissions is on tape only: it is listed with its size, and cannot be opened. Staging gives it back its
# permissions once the delay has passed, which is looked at when somebody asks. The capitals between @ are filled in.
root='@ROOT@' state='@STATE@' delay_ms='@DELAY_MS@'

while [ "$1" != -- ]; do shift; done
request=$2 verb=$3
shift 3
note=$state/$(printf %s "$request" | tr /: __)
now_ms=$(date +%s%3N)

all=$*

# The answer about one file, as EOS and CTA give it. It comes online when its request is due.
tell() {
  path=$root${1%%\?*} exists=false online=false error='file does not exist'
  if [ -f "$path" ]; then
    exists=true error=
    [ -f "$note" ] && [ "$(cat "$note")" -le "$now_ms" ] && chmod 644 "$path"
    case $(stat -c %a "$path") in 0) ;; *) online=true ;; esac
  fi
  printf '{"path":"%s","path_exists":%s,"on_tape":%s,"online":%s,"error_text":"%s"}' \
    "$1" "$exists" "$exists" "$online" "$error"
}

case $verb in
stage) echo $((now_ms + delay_ms)) >"$note.new" && mv "$note.new" "$note" ;;
cancel) rm -f "$note" ;;
evict) for file; do chmod 0 "$root${file%%\?*}"; done ;;
query)
  printf '{"request_id":"%s","responses":[' "$request"
  separator=
  for file; do
    printf %s "$separator"
    tell "$file"
    separator=,
  done
  printf ']}'
  ;;
esac
printf '%s %s\n' "$verb" "$all" >>"$state/log"  # last: what is in it is done
