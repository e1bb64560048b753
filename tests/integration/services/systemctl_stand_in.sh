#!/bin/sh
# A stand-in for systemctl, for hosts without systemd: the verbs and properties that the controller uses, over real
# processes, and the refusals of the real one (exit 5 for a unit that is not there, 1 for a start that fails).
# Units are folders below $UNITS: command, load, file_state; pid and failed are its own. "down": no systemd answers.
die() { echo "$2" >&2; exit "$1"; }
[ -e "$UNITS/down" ] && die 1 "System has not been booted with systemd as init system (PID 1). Can't operate."
[ -e "$UNITS/hang" ] && exec sleep 60
verb='' unit='' properties='' signal=TERM
for word in "$@"; do
  case "$word" in
  --no-ask-password) ;;
  --signal=SIG*) signal=${word#--signal=SIG} ;;
  --property=*) properties="$properties ${word#--property=}" ;;
  -*) die 1 "systemctl: unrecognized option '$word'" ;;
  *) if [ -z "$verb" ]; then verb=$word; elif [ -z "$unit" ]; then unit=$word; else die 1 "Too many arguments."; fi ;;
  esac
done
[ -n "$unit" ] || die 1 "Too few arguments."
folder=$UNITS/$unit
pid=$(cat "$folder/pid" 2>/dev/null)
runs() { [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; }
load=not-found
[ -d "$folder" ] && load=$(cat "$folder/load" 2>/dev/null || echo loaded)
case "$verb" in
show)
  active=inactive sub=dead result=success tasks='[not set]'
  if runs; then active=active sub=running tasks=1
  elif [ -n "$pid" ] || [ -e "$folder/failed" ]; then active=failed sub=failed result=signal; fi
  [ -e "$folder/says" ] && active=$(cat "$folder/says")
  [ -e "$folder/tasks" ] && tasks=$(cat "$folder/tasks")
  for property in $properties; do
    case "$property" in
    LoadState) value=$load ;;
    WantedBy) value=$(cat "$folder/wanted_by" 2>/dev/null) ;;
    UnitFileState) value=$(cat "$folder/file_state" 2>/dev/null || echo disabled) ;;
    ActiveState) value=$active ;;
    SubState) value=$sub ;;
    Result) value=$result ;;
    TasksCurrent) value=$tasks ;;
    LoadError) value='org.freedesktop.systemd1.BadUnitSetting "Unit has a bad unit file setting."' ;;
    *) continue ;;
    esac
    echo "$property=$value"
  done ;;
start)
  [ "$load" = loaded ] || die 5 "Failed to start $unit: Unit $unit not found."
  runs && exit 0
  [ -e "$folder/slow" ] && sleep 60
  rm -f "$folder/failed"
  setsid sh -c "$(cat "$folder/command")" </dev/null >/dev/null 2>&1 &
  echo $! >"$folder/pid"
  [ -e "$folder/fails" ] && { touch "$folder/failed"; die 1 "Job for $unit failed because a timeout was exceeded."; }
  exit 0 ;;
stop)
  [ "$load" = loaded ] || die 5 "Failed to stop $unit: Unit $unit not loaded."
  if runs; then kill -TERM "-$pid"; while runs; do sleep 0.05; done; fi
  rm -f "$folder/pid" "$folder/failed" ;;
reset-failed)
  [ "$load" = loaded ] || die 1 "Failed to reset failed state of unit $unit: Unit $unit not loaded."
  rm -f "$folder/failed" ;;
kill)
  runs || die 1 "Failed to kill unit $unit: No such process"
  kill "-$signal" "-$pid" ;;
*) die 1 "Unknown command verb $verb." ;;
esac
