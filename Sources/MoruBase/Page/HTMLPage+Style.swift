extension HTMLPage {
    /// The page's style: one column on a phone, two on a desk, light or dark as the reader likes.
    static let style = """
        :root { --ink: #1b1d22; --soft: #5c6370; --page: #f7f7f5; --card: #ffffff; --rule: #e2e2dd;
          --first: #2463b4; --second: #c2571a; --third: #2f7d4f; --mark: #eef0e6; }
        @media (prefers-color-scheme: dark) {
          :root { --ink: #e7e8ea; --soft: #9aa1ad; --page: #16181c; --card: #1f2227; --rule: #33373e;
            --first: #6ea8f0; --second: #f0965c; --third: #6cc492; --mark: #2c3136; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--page); color: var(--ink);
          font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
        main { max-width: 1040px; margin: 0 auto; padding: 24px 16px 48px; }
        h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
        h2 { margin: 0 0 12px; font-size: 1.15rem; }
        h3 { margin: 0; font-size: 1rem; }
        h4 { margin: 0 0 4px; font-size: .85rem; color: var(--soft); font-weight: 600; }
        header p { margin: 4px 0 20px; color: var(--soft); }
        .state { display: inline-block; padding: 1px 10px; border-radius: 999px; margin-right: 8px;
          border: 1px solid currentColor; font-size: .85rem; font-weight: 600; }
        .finished { color: var(--third); } .stopped, .open { color: var(--second); }
        section, .tiles { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
          padding: 16px; margin: 0 0 16px; }
        .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 14px; }
        .tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
        .tiles dd { margin: 0; font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; }
        .tiles dt { color: var(--soft); font-size: .82rem; line-height: 1.3; }
        .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 20px 24px; }
        figure { margin: 0; max-width: 640px; }
        figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 12px; }
        svg { width: 100%; height: auto; display: block; }
        svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
        .grid { stroke: var(--rule); }
        .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
        .line.first { stroke: var(--first); } .line.second { stroke: var(--second); }
        .line.third { stroke: var(--third); }
        .line.faint { stroke: var(--first); stroke-width: 1; opacity: .35; }
        circle.second { fill: var(--second); } circle.first { fill: var(--first); }
        .legend { font-size: .82rem; color: var(--soft); }
        .key { margin-left: 12px; white-space: nowrap; }
        .key::before { content: ""; display: inline-block; width: 14px; height: 3px; margin-right: 5px;
          vertical-align: middle; border-radius: 2px; background: var(--first); }
        .key.second::before { background: var(--second); } .key.third::before { background: var(--third); }
        .key.faint::before { opacity: .35; }
        .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 12px 20px;
          padding: 12px 0; border-top: 1px solid var(--rule); }
        .pair:first-of-type { border-top: 0; padding-top: 0; }
        .text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .95rem; }
        mark { background: var(--mark); color: inherit; border-radius: 3px; padding: 0 2px; }
        .scroll { overflow-x: auto; }
        table { border-collapse: collapse; width: 100%; font-size: .93rem; }
        th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-top: 1px solid var(--rule); }
        tr:first-child > * { border-top: 0; }
        th { color: var(--soft); font-weight: 500; min-width: 9rem; }
        td { overflow-wrap: anywhere; }
        .figures td, .figures thead th { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
        .figures thead th:first-child { text-align: left; }
        .figures thead th { border-top: 0; color: var(--ink); font-weight: 600; }
        .figures thead + tbody tr:first-child > * { border-top: 1px solid var(--rule); }
        .figures small { color: var(--soft); }
        .better { color: var(--third); } .worse { color: var(--second); }
        .matrix { width: auto; }
        .matrix td { min-width: 3.4rem; text-align: right; border: 1px solid var(--rule); padding: 6px 10px;
          background: color-mix(in srgb, var(--first) calc(var(--share) * 55%), transparent);
          font-variant-numeric: tabular-nums; }
        .matrix th { padding: 6px 10px; min-width: 0; }
        .side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 20px 24px; }
        .side.wide { grid-template-columns: minmax(0, 1fr); }
        .case { padding: 14px 0; border-top: 1px solid var(--rule); }
        .case:first-of-type { border-top: 0; padding-top: 0; }
        .case dl { display: grid; grid-template-columns: minmax(5rem, max-content) minmax(0, 1fr); gap: 4px 16px;
          margin: 8px 0 0; }
        .case dt { color: var(--soft); font-size: .88rem; }
        .case dd { margin: 0; }
        .case small { color: var(--soft); }
        pre { margin: 0; overflow-x: auto; font: .86rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
        ul { margin: 0; padding-left: 20px; }
        footer { color: var(--soft); font-size: .82rem; }
        @media print { body { background: none; } section, .tiles { break-inside: avoid; } }
        """
}
