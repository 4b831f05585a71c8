# shellcheck shell=bash
# Sourced by the scripts beside it: what a fresh machine needs before the project runs on it.
#
#   set_up PURPOSE PYTHON     sets $venv; PURPOSE is capture, test, fast, check or bench;
#                             PYTHON an interpreter's name, or empty: any that is new enough
#   find_python NAME          prints the real interpreter behind a name, or any; fails without one
#
# All talk goes to stderr: stdout belongs to the command that follows. Nothing is done twice: a
# stamp inside the environment says for what it was made ready, and with which versions.

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

give_up() { # SENTENCE HINT
    printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
    exit 1
}

# ------------------------------------------------------------------------------------ the stamp

set_up() { # PURPOSE PYTHON
    local purpose=$1 python_name=$2 stamp wanted
    venv=$project/.venv${python_name:+-${python_name##*/}}
    stamp=$venv/.ready-for-$purpose
    wanted=$(fingerprint)
    if [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
        return
    fi
    install_all "$purpose" "$python_name"
    printf '%s\n' "$wanted" >"$stamp"
    say "setup: done"
}

# The folder is part of it: an environment that was moved along with its folder does not work.
fingerprint() {
    (cd "$project" && { pwd && cat pyproject.toml constraints.txt scripts/setup.sh; } | sha256sum)
}

install_all() { # PURPOSE PYTHON
    local purpose=$1 python_name=$2 python
    if ! python=$(find_python "$python_name"); then
        [[ -z $python_name ]] ||
            give_up "there is no working ${python_name} of version 3.11 or newer" \
                "install it, or leave out --python"
        install_packages required python3 python3-venv
        python=$(find_python "") ||
            give_up "Python 3.11 or newer is needed, and this machine offers none" \
                "install a newer Python, e.g. with pyenv or uv, and start again"
    fi
    install_missing_packages "$purpose" "$python"
    make_environment "$purpose" "$python"
}

# ----------------------------------------------------------------------------------- the Python

# Tried by running: what lies on the PATH may be a pyenv shim with nothing behind it.
find_python() { # NAME
    local names=("$1") name path
    [[ -n $1 ]] || names=(python3 python3.14 python3.13 python3.12 python3.11)
    for name in "${names[@]}"; do
        for path in "$name" "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/*/bin/"$name"; do
            "$path" -c 'import sys
if sys.version_info < (3, 11): sys.exit(1)
print(sys.executable)' 2>/dev/null && return
        done
    done
    return 1
}

# --------------------------------------------------------------------------- the system packages

# What is looked for is the thing, not the package: it may have come some other way.
install_missing_packages() { # PURPOSE PYTHON
    local purpose=$1 python=$2 required=() wanted=()
    lack_module() { "$python" -c "import $1" 2>/dev/null || required+=("$2"); }
    lack_library() {
        "$python" -c "import ctypes; ctypes.CDLL('$1')" 2>/dev/null || required+=("$2")
    }
    lack_program() { [[ -n $(type -P "$1") ]] || wanted+=("$2"); }

    lack_module ensurepip "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [[ $purpose != check ]]; then
        lack_library libpulse.so.0 libpulse0
        lack_library libportaudio.so.2 libportaudio2 # sounddevice brings it on other systems only
        lack_library libxcb.so.1 libxcb1 # these five: mss and xcffib
        lack_library libxcb-randr.so.0 libxcb-randr0
        lack_library libxcb-render.so.0 libxcb-render0
        lack_library libxcb-shm.so.0 libxcb-shm0
        lack_library libxcb-xfixes.so.0 libxcb-xfixes0
        lack_library libGL.so.1 libgl1 # these two: OpenCV
        lack_library libgthread-2.0.so.0 libglib2.0-0
    fi
    if [[ $purpose == capture || $purpose == test ]]; then
        lack_program espeak-ng espeak-ng
    fi
    if [[ $purpose == capture || $purpose == test || $purpose == bench ]]; then
        lack_program Xvfb xvfb
        # Beside PipeWire's own sound server PulseAudio could displace parts of a desktop.
        if [[ $purpose != capture || -z $(type -P pipewire-pulse) ]]; then
            lack_program pulseaudio pulseaudio
        else
            [[ -n $(type -P pulseaudio) ]] ||
                say "setup: pulseaudio is left out beside PipeWire; private desktops need it"
        fi
    fi
    if [[ $purpose == test ]]; then
        lack_program pactl pulseaudio-utils
        lack_program pipewire pipewire
        lack_program wireplumber wireplumber
        lack_program pipewire-pulse pipewire-pulse
        lack_program dbus-run-session dbus-daemon
    fi
    if [[ $purpose == test || $purpose == bench ]]; then
        lack_program ffmpeg ffmpeg
        lack_program mpv mpv # what it plays is recorded
    fi
    if [[ $purpose == bench ]]; then
        lack_program simplescreenrecorder simplescreenrecorder
    fi
    install_packages required "${required[@]}"
    install_packages wanted "${wanted[@]}"
}

# Required: without it nothing works. Wanted: something will be missing, which its user is told.
install_packages() { # required|wanted NAME...
    local need=$1 names=("${@:2}") obstacle='' as_root=()
    ((${#names[@]})) || return 0
    if [[ -z $(type -P apt-get) ]]; then
        obstacle="there is no apt-get here"
    elif ((EUID != 0)); then
        if [[ -z $(type -P sudo) ]]; then
            obstacle="that takes root or sudo"
        elif [[ -t 0 ]] || sudo -n true 2>/dev/null; then
            as_root=(sudo)
        else
            obstacle="sudo asks for a password"
        fi
    fi
    if [[ -z $obstacle ]]; then
        say "setup: installing system packages with apt-get: ${names[*]}"
        apt_install "${names[@]}" || obstacle="apt-get failed, see above"
    fi
    [[ -n $obstacle ]] || return 0
    if [[ $need == required ]]; then
        give_up "system packages are missing and could not be installed ($obstacle): ${names[*]}" \
            "install them, or what they are called on your system, and start again"
    fi
    say "setup: going on without ${names[*]} ($obstacle)"
}

# --no-remove: rather fail than take a program away from somebody.
apt_install() { # NAME...
    local command=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    local install=("${command[@]}" install --yes --no-remove --no-install-recommends)
    # Without package lists, or with old ones, only an update can help.
    "${install[@]}" "$@" </dev/null >/dev/null 2>&1 ||
        { "${command[@]}" update </dev/null >&2 && "${install[@]}" "$@" </dev/null >&2; }
}

# ------------------------------------------------------------------------------- the environment

make_environment() { # PURPOSE PYTHON
    local purpose=$1 python=$2 groups=()
    case $purpose in
    test | fast) groups=(test) ;;
    check) groups=(dev) ;; # the type checker reads the tests too
    esac
    say "setup: installing the project and what it needs into ${venv##*/} ($("$python" --version))"
    # An environment whose interpreter is gone, or that lay elsewhere, is made anew.
    if ! "$venv/bin/python" -c 'import pip' 2>/dev/null || [[ ! -f $venv/.made-in ]] ||
        [[ $(<"$venv/.made-in") != "$venv" ]]; then
        rm -rf -- "$venv"
        "$python" -m venv "$venv" >&2 ||
            give_up "a virtual environment could not be made in $venv" \
                "see above; is the disk full or read-only?"
        printf '%s\n' "$venv" >"$venv/.made-in"
    fi
    local more=()
    mapfile -t more < <("$venv/bin/python" - "$project/pyproject.toml" "${groups[@]}" <<'PYTHON'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    groups = tomllib.load(file)["dependency-groups"]

def expand(name):
    for entry in groups[name]:
        yield from expand(entry["include-group"]) if isinstance(entry, dict) else [entry]

for name in sys.argv[2:]:  # older pips know no --group
    print(*expand(name), sep="\n")
PYTHON
    )
    (cd "$project" && "$venv/bin/python" -m pip install -qq --no-input \
        --disable-pip-version-check --constraint constraints.txt --editable . "${more[@]}" >&2) ||
        give_up "the Python packages could not be installed" \
            "see above; without a network, set one up or give pip a folder of wheels"
}
