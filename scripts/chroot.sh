# shellcheck shell=bash
# Sourced by scripts/test and .ci/run, after setup.sh: the README's two commands on a bare Debian of another release.
#
#   run_on RELEASE ARGUMENTS...   a bare chroot of that release (trixie, bookworm), the tree cloned into it,
#                                 `scripts/capture demo` and `scripts/test ARGUMENTS` inside, as root
#
# The chroot is made by debootstrap at the first time and kept, with what the scripts installed there, in
# ${CAPTURE_CHROOTS:-~/.cache/deskcapture}; deleting that folder is all that it takes to be rid of it. Every mount lives
# in a namespace of its own and every process in another: both are gone when the command ends, however it ends.

chroots=${CAPTURE_CHROOTS:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/deskcapture}

run_on() { # RELEASE ARGUMENTS...
    local release=$1 root=$chroots/$1
    ((EUID == 0)) ||
        give_up "a chroot takes root" "start it with sudo, or leave out --on"
    [[ $release =~ ^[a-z]+$ ]] ||
        give_up "'$release' is not the name of a Debian release" "for example: --on trixie"
    mkdir -p -- "$chroots"
    exec {chroot_lock}>"$chroots/$release.lock"
    flock --nonblock "$chroot_lock" || {
        say "chroot: another run uses $root; waiting for it"
        flock "$chroot_lock"
    }
    [[ -d $root ]] || make_chroot "$release" "$root"
    clone_into "$root"
    say "chroot: the README's two commands on a bare Debian $release, in $root"
    inside "$root" scripts/capture demo || give_up "the demo fails on $release" "see above"
    inside "$root" scripts/test "${@:2}"
}

make_chroot() { # RELEASE ROOT
    local release=$1 root=$2
    [[ -n $(type -P debootstrap) ]] || install_packages required debootstrap
    say "chroot: making a bare Debian $release with debootstrap (some minutes, 400 MB; over 2 GB once it is used)"
    rm -rf -- "$root.part"
    debootstrap --variant=minbase "$release" "$root.part" >"$root.log" 2>&1 ||
        give_up "debootstrap could not make a Debian $release" "see $root.log"
    # How this machine reaches its packages holds inside as well.
    apt-config dump | grep -E '^Acquire::(https?::|Check-)' >"$root.part/etc/apt/apt.conf.d/90-of-the-host" || true
    mv -- "$root.part" "$root"
}

# What is committed, and nothing else; the environment inside is kept for the next time.
clone_into() { # ROOT
    local tree=$1/root/capture commit
    commit=$(git -C "$project" rev-parse HEAD)
    [[ -z $(git -C "$project" status --porcelain) ]] ||
        say "chroot: changes that are not committed stay outside"
    [[ -d $tree/.git ]] || git clone --quiet --no-hardlinks -- "$project" "$tree"
    git -C "$tree" fetch --quiet -- "$project" "$commit"
    git -C "$tree" checkout --quiet --force --detach "$commit"
    git -C "$tree" clean --quiet --force -d
}

inside() { # ROOT COMMAND...
    local root=$1 name kept=()
    for name in CI TERM PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT \
        http_proxy https_proxy no_proxy; do
        [[ -z ${!name:-} ]] || kept+=("$name=${!name}")
    done
    unshare --mount --propagation private --pid --fork --kill-child \
        bash -euo pipefail -c '
            root=$1
            mount -t proc proc "$root/proc"
            mount -t sysfs -o ro sysfs "$root/sys"
            mount --rbind /dev "$root/dev"
            mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
            mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
            mount -t tmpfs -o mode=755 tmpfs "$root/run"
            # WirePlumber 0.4 ends at once where systemd-logind never ran; nobody being logged in is enough.
            mkdir -p "$root"/run/systemd/{seats,sessions,users}
            # Whom this machine trusts is trusted inside: its network may need it.
            trusted=()
            if [[ -f /etc/ssl/certs/ca-certificates.crt ]]; then
                cp -L /etc/ssl/certs/ca-certificates.crt "$root/run/certificates.pem"
                trusted=(PIP_CERT=/run/certificates.pem SSL_CERT_FILE=/run/certificates.pem)
            fi
            [[ ! -e /etc/resolv.conf ]] || cp -L /etc/resolv.conf "$root/etc/resolv.conf"
            exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 \
                PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${trusted[@]}" \
                bash -c "cd /root/capture && exec env \"\$@\"" bash "${@:2}"
        ' bash "$root" "${kept[@]}" "${@:2}"
}
