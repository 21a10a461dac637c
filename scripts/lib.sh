# shellcheck shell=bash
# For scripts that run several steps, all of them even when one fails.

failed_steps=()
passed_steps=0

# step NAME COMMAND [ARGUMENT…]
step() {
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  if "$@"; then
    passed_steps=$((passed_steps + 1))
    echo "== $name: ok ($((SECONDS - start)) s)"
  else
    failed_steps+=("$name")
    echo "== $name: FAILED ($((SECONDS - start)) s)"
  fi
}

# Ends the script, telling which steps failed.
finish() {
  if ((${#failed_steps[@]} > 0)); then
    printf 'failed: %s\n' "${failed_steps[@]}"
  fi
  echo "steps: $passed_steps passed, ${#failed_steps[@]} failed"
  ((${#failed_steps[@]} == 0))
  exit
}
