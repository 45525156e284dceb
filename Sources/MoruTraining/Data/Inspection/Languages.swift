/// Tells the language of a text from its script, and among languages that share one from their commonest words.
///
/// Says nothing where the evidence is thin: a name, a number, a line of code.
public enum Languages {
    /// The language's ISO 639-1 code; nil when it cannot be told.
    public static func detect(_ text: String) -> String? {
        var counts: [Script: Int] = [:]
        var letters = 0
        for scalar in text.unicodeScalars.prefix(10_000) {
            guard let script = Script(scalar) else { continue }
            counts[script, default: 0] += 1
            letters += 1
        }
        guard letters > 1 else { return nil }
        // Kana and Hangul settle it even among many Chinese characters
        let kana = counts[.kana] ?? 0
        if kana > 0, kana + (counts[.han] ?? 0) > letters / 2 { return "ja" }
        guard let (script, count) = counts.max(by: { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }),
            count * 10 > letters * 6
        else { return nil }
        switch script {
        case .hangul: return "ko"
        case .kana: return "ja"
        case .han: return "zh"
        case .greek: return "el"
        case .hebrew: return "he"
        case .thai: return "th"
        case .devanagari: return "hi"
        case .arabic: return text.unicodeScalars.contains { "پچژگ".unicodeScalars.contains($0) } ? "fa" : "ar"
        case .cyrillic: return text.unicodeScalars.contains { "іїєґІЇЄҐ".unicodeScalars.contains($0) } ? "uk" : "ru"
        case .latin: return latin(text)
        }
    }

    /// A language's English name.
    public static func name(of code: String) -> String { names[code] ?? code }

    private static let names = [
        "ko": "Korean", "ja": "Japanese", "zh": "Chinese", "el": "Greek", "he": "Hebrew", "th": "Thai", "hi": "Hindi",
        "fa": "Persian", "ar": "Arabic", "uk": "Ukrainian", "ru": "Russian", "en": "English", "de": "German",
        "fr": "French", "es": "Spanish", "pt": "Portuguese", "it": "Italian", "nl": "Dutch", "sv": "Swedish",
        "da": "Danish", "pl": "Polish", "tr": "Turkish", "fi": "Finnish", "cs": "Czech", "id": "Indonesian",
        "vi": "Vietnamese",
    ]

    // MARK: Latin script

    /// The language whose common words and letters the text has most of, where the lead is clear.
    private static func latin(_ text: String) -> String? {
        var scores: [String: Double] = [:]
        var wordCount = 0
        for word in text.lowercased().prefix(10_000).split(whereSeparator: { !$0.isLetter && $0 != "'" && $0 != "’" }) {
            wordCount += 1
            let word = String(word.prefix { $0 != "'" && $0 != "’" })
            if let owners = owners[word] {
                for owner in owners { scores[owner, default: 0] += 1 / Double(owners.count) }
            }
            for (language, endings) in endings where word.count > 4 && endings.contains(where: word.hasSuffix) {
                scores[language, default: 0] += 0.3
            }
            for (language, letters) in marks where word.contains(where: letters.contains) {
                scores[language, default: 0] += 0.5
            }
        }
        let ranked = scores.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        guard let best = ranked.first else { return nil }
        let second = ranked.count > 1 ? ranked[1].value : 0
        return best.value >= max(0.45, 0.04 * Double(wordCount)) && best.value >= 1.3 * second ? best.key : nil
    }

    /// The languages that a common word belongs to.
    private static let owners: [String: [String]] = {
        var owners: [String: [String]] = [:]
        for (language, words) in commonWords {
            for word in words.split(separator: " ") { owners[String(word), default: []].append(language) }
        }
        return owners
    }()

    private static let commonWords = [
        "en": """
        the of and to a in is it you that he was for on are with as his they i at be this have from or one had by but \
        not what all were we when your can said there an each which she do how their if will up other about out many \
        then them these so some her would make like him into time has look two more go see no way could my than been \
        who its now did get come made may after back only our very just because don't doesn't didn't isn't any where \
        why too me us does am here there's yes please much before again still never always also
        """,
        "de": """
        der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat \
        dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis \
        mehr durch man sein wurde sei ich du wir ihr mir mich dir kann können muss schon wenn was wo warum mein dein \
        kein keine sehr hier dort jetzt immer wieder bitte danke doch ja nein vom diese dieser dieses
        """,
        "fr": """
        le la les de des du et à un une en est que qui dans pour pas sur au ne se ce il elle je vous nous avec plus \
        par on mais ou son sa ses ont sont été aux cette comme tout être avoir fait même aussi bien sans peut très \
        leur mon ma mes ton votre notre où quand y si donc alors oui non c j l d qu n s ai as suis était merci
        """,
        "es": """
        el la los las de y en que a un una por con no se su para es al lo como más o pero sus le ya este sí porque \
        esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno les ni \
        contra otros ese eso ante ellos e esto mí antes algunos qué unos yo otro tu te mi está estoy fue son del \
        gracias hola usted
        """,
        "pt": """
        o a os as de do da dos das em no na nos nas que e é um uma para com não se por mais como mas ao ele ela ou ser \
        quando muito há já está eu também só pelo pela até isso entre era depois sem mesmo aos ter seus quem me esse \
        eles estão você tinha foram essa num nem suas meu minha às têm numa são obrigado
        """,
        "it": """
        il lo la i gli le di e che è in un una per con non si da del della dei delle al alla sono come ma anche più \
        ha questo questa nel nella o se mi ti ci io tu lui lei noi voi loro mio suo dove quando perché molto essere \
        avere ho hai abbiamo era stato c'è cosa tutto tutti sul sulla dal dalla così già ancora sempre grazie
        """,
        "nl": """
        de het een en van in is dat op te zijn met voor niet aan er die als bij ook maar om dan ze wordt of uit naar \
        door over hij tot wat nog je ik we u haar hem kan geen deze dit was hebben heeft had worden werd veel meer \
        zo mijn jouw ons hier daar waar wanneer waarom wel al moet zou goed dank nu
        """,
        "sv": """
        och i att det som en på är av för med den till inte har om ett jag var men sig så vi från kan när eller vad \
        nu ut bara efter än honom du här under hade hans vid också hur där alla varit mycket henne mot blir ska \
        skulle detta dig mig min din sin utan någon något tack vill ha få bra
        """,
        "da": """
        og i at det er en den til af på for med ikke der de jeg som har om et var men så vi fra kan når eller hvad nu \
        ud bare efter end ham du her under havde hans ved også hvor alle været meget hende mod bliver skal skulle \
        dette dig mig min din sin uden nogen noget tak vil gerne mine penge få godt
        """,
        "pl": """
        i w na z do nie się to jest że o jak za od po co ale tak przez przy dla był tylko czy już jego może być są \
        tym tego ich ten ta te jeszcze gdy bardzo ma mnie mi ja ty my wy on ona oni też który która które kiedy \
        gdzie dlaczego dziękuję proszę
        """,
        "tr": """
        ve bir bu da de için ile çok ne o ben sen biz siz onlar daha gibi var yok değil ama mi mı mu mü kadar sonra \
        en ki her şey olarak olan oldu nasıl neden nerede şimdi evet hayır teşekkürler lütfen benim senin bana
        """,
        "fi": """
        ja on ei se että oli hän en mutta ole niin kun myös kuin tai jos ovat minä sinä me te he ne joka mitä missä \
        miksi kuinka nyt vain vielä jo kaikki tämä sen hyvin kiitos olen olet olemme olla voi
        """,
        "cs": """
        a v se na je že s z do to o k i jako za ve po ale tak by si jsem jsou pro od nebo který která které už jen \
        když jak co kde proč ten ta být byl byla bylo není také ještě tento jeho její děkuji prosím
        """,
        "id": """
        yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena tersebut bisa ada mereka lebih \
        sudah atau saat oleh sebagai adalah apa kita kamu kami telah dapat menjadi hanya seperti banyak sangat \
        bagaimana kenapa terima kasih
        """,
        "vi": """
        và của là có không được cho một những người trong với này đã các để khi tôi bạn thì ở cũng như từ rất nhiều \
        đó nhưng nếu vì sao gì làm ra về đến cảm ơn
        """,
    ]

    private static let marks: [String: Set<Character>] = [
        "de": ["ß"], "es": ["ñ", "¿", "¡"], "pt": ["ã", "õ"], "fr": ["œ", "ê", "û", "î"],
        "pl": ["ł", "ś", "ż", "ź", "ą", "ę"],
        "tr": ["ğ", "ı", "ş"], "cs": ["ř", "ů", "ě"], "da": ["æ", "ø"],
        "vi": ["ơ", "ư", "ạ", "ế", "ộ", "ấ", "đ", "ệ", "ả"],
        "sv": ["å"],
    ]

    private static let endings: [String: [String]] = [
        "en": ["ing", "tion", "ed", "ght", "ly"], "de": ["ung", "lich", "keit", "isch", "chen"],
        "fr": ["eux", "ment", "aient", "ait"], "es": ["ción", "mente", "ando"], "pt": ["ção", "ções", "mente"],
        "it": ["zione", "mente", "ono"], "nl": ["ijk", "heid", "oor"], "fi": ["ssa", "ssä", "lla", "llä", "inen"],
        "tr": ["lar", "ler", "yor"], "id": ["nya", "kan"],
    ]

    private enum Script: Int {
        case latin, cyrillic, greek, hangul, kana, han, hebrew, arabic, thai, devanagari

        /// The script of a letter; nil for what is none, or is of another script.
        init?(_ scalar: Unicode.Scalar) {
            switch scalar.value {
            case 0x41...0x5A, 0x61...0x7A, 0xC0...0xD6, 0xD8...0xF6, 0xF8...0x24F, 0x1E00...0x1EFF: self = .latin
            case 0x370...0x3FF: self = .greek
            case 0x400...0x52F: self = .cyrillic
            case 0x590...0x5FF: self = .hebrew
            case 0x600...0x6FF, 0x750...0x77F: self = .arabic
            case 0x900...0x97F: self = .devanagari
            case 0xE00...0xE7F: self = .thai
            case 0x1100...0x11FF, 0x3130...0x318F, 0xAC00...0xD7AF: self = .hangul
            case 0x3041...0x30FF: self = .kana
            case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0x2_0000...0x2_A6DF: self = .han
            default: return nil
            }
        }
    }
}
