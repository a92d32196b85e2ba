#!/bin/sh
# A tape behind an XRootD server, for its Generic Prepare plugin: tape.sh [options] -- REQUEST stage|evict|cancel|query FILE…
#
# A file without permissions is on tape only: it is listed with its size, and cannot be opened. Staging gives it back its
# permissions once the delay has passed, which is looked at when somebody asks. Of each request is kept when it is due, when
# it was made, and, a line each, the files that it still asks for. The capitals between @ are filled in.
root='@ROOT@' state='@STATE@' delay_ms='@DELAY_MS@'

while [ "$1" != -- ]; do shift; done
request=$2 verb=$3
shift 3
all=$*
newline='
'
requests=$state/requests
note=$requests/$(printf %s "$request" | tr /: __)
now_ms=$(date +%s%3N)
[ -d "$requests" ] || mkdir -p "$requests"

# The answer about one file, as EOS and CTA give it, and as gfal2 demands it.
tell() {
  path=$root${1%%\?*} exists=false online=false requested=false has_reqid=false req_time='' error='no such file'
  case $modes in *" $path$newline"*) exists=true error='' ;; esac
  case $modes in *"${newline}0 $path$newline"*) ;; *) online=$exists ;; esac
  case $asked_by_all in *"$newline$1$newline"*) requested=true ;; esac
  case $asked in *"$newline$1$newline"*) has_reqid=true req_time=$made ;; esac
  printf '{"path":"%s","path_exists":%s,"on_tape":%s,"online":%s,"requested":%s,"has_reqid":%s,"req_time":"%s","error_text":"%s"}' \
    "$1" "$exists" "$exists" "$online" "$requested" "$has_reqid" "$req_time" "$error"
}

# Give the files of this request back their permissions, if it is due.
bring_online() {
  [ "$due_ms" -le "$now_ms" ] || return
  printf %s "$asked" | sed -n "s|^/|$root/|p" | tr '\n' '\0' | xargs -0r chmod -f 644
}

# The permissions and paths of the files that exist, a line each.
list_modes() {
  for file; do
    set -- "$@" "$root${file%%\?*}"
    shift
  done
  printf '\n%s\n' "$(stat -c '%a %n' "$@" 2>/dev/null)"
}

write_note() { cat >"$requests/.$$" && mv "$requests/.$$" "$note"; }

case $verb in
stage) printf '%s\n' $((now_ms + delay_ms)) $((now_ms / 1000)) "$@" | write_note ;;
cancel) # concerns the files that it names, and no others of the request
  if [ -f "$note" ] && [ $# -gt 0 ]; then
    printf '%s\n' "$@" >"$requests/.$$.cancelled"
    grep -vxF -f "$requests/.$$.cancelled" "$note" | write_note
    rm "$requests/.$$.cancelled"
  fi
  ;;
evict) for file; do chmod 0 "$root${file%%\?*}"; done ;;
query)
  tries=0 # the plugin answers a query at once, and runs what was asked for before it, a request "host:…", when it likes
  case $request in *:*) while [ ! -f "$note" ] && [ $((tries += 1)) -le 300 ]; do sleep 0.01; done ;; esac
  asked=''
  if [ -f "$note" ]; then
    { read -r due_ms && read -r made && asked=$newline$(cat)$newline; } <"$note"
    bring_online
  fi
  asked_by_all=$newline$(cat "$requests"/* 2>/dev/null)$newline
  modes=$(list_modes "$@")$newline
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
