/// Texts for tests that need more than a few sentences: written for them, so that they stay as they are.
public enum SampleText {
    /// Some 1,300 words of English prose in five paragraphs and a few lines of dialogue.
    public static let prose = """
        The smithy stood at the end of the harbour street, where the cobbles gave way to sand and the wind brought the smell
        of tar. For most of the year it was the warmest place in the village, and people who had no business there found
        reasons to come in. They would bring a hinge that needed nothing but a drop of oil, or ask about a gate that had been
        ordered for the spring, and then they would stay by the fire with their hands held out until somebody remembered the
        bread in the oven at home. The smith did not mind. She had learned the trade from her uncle, who had learned it from
        a man he never talked about, and she had noticed early that a visitor who is allowed to watch will pay the bill
        without an argument. What she made was plain: nails by the hundred, hooks for the boats, shoes for the four horses
        that were left, and now and then a pair of scissors that she was proud of. She kept the accounts in a school book with
        a blue cover. On the left she wrote what had been promised, on the right what had been paid, and between the two
        columns there was a narrow strip in which she drew, very small, the thing itself. After eleven years there were nine
        of these books on the shelf above the window, and anybody who wanted to know how the village had lived could have
        read it there: how many ploughs were mended in a dry summer, how many anchors were lost in the storm of 1987, when
        the doctor had his first car, and in which winter the church was locked against thieves.

        An anvil is a simple machine, if it is a machine at all. It does not move, and that is the whole of its purpose. When
        a hammer falls on hot iron, the iron has to go somewhere; if what lies below gives way, the blow is spent on the ground
        and nothing changes. A good anvil returns about nine tenths of the energy that it receives, which is why the hammer
        jumps back and the arm does not tire as quickly as one would think. The face is hardened, the body is soft, the horn
        is for bending, and the two holes near the heel hold tools with square stems. Some smiths set it on a block of oak,
        others on a barrel of sand, and there are long discussions about which of the two is quieter. The height matters more
        than either. If the knuckles of a closed fist just touch the face while the arm hangs down, the back will be straight
        at the end of the day. People who learn this from a book usually build the stand too high, because they measure it in
        the morning, and by the evening they know better. It is the same with most crafts: the rule is short, the reason for
        it is long, and the reason is what one forgets.

        In the third week of October a young man came in with a broken bell. It was not large, perhaps forty centimetres
        across, but it was old, and there were letters around the rim that nobody in the village could read. "Can it be
        welded?" he asked. She turned it over, tapped it with a knuckle, and listened. "It can be welded," she said, "but it
        will not ring. Bronze is not iron. If I heat it enough to close the crack, the tin will leave, and what you get back
        is a pot." He looked so unhappy that she put the kettle on. He had found it, he said, in the wall of a house that his
        grandmother had left him; the mason who was to put in a new window had struck it with a crowbar. There had been no
        paper with it, no name, nothing but a piece of sailcloth that fell to dust when he unfolded it. They drank their tea.
        Outside the light was going, and the first boats came in with their lamps lit, five of them, then a sixth that was
        late. "What would you do?" he asked at last. "I would draw it," she said. "Every letter, in its own size. Then I would
        write to the museum in the city, because somebody there has nothing else to do than to read such letters. And then I
        would hang it up as it is. A bell that does not ring is still a bell, and it will tell you when the frost comes."

        The answer from the museum took seven weeks. It was two pages long, typed, with a drawing of its own, and it began
        with an apology for the delay. The bell, it said, had been cast between 1610 and 1640, most likely in the workshop of
        two brothers who made nothing else for which they are remembered. It had been meant for a ship. The letters gave the
        name of the ship, which was known from a list of losses, and the name of the owner, which was not; they also gave a
        weight, and if the weight was right, then about a third of the metal was missing. Had anything else been found in the
        wall? The young man read the letter aloud in the smithy, twice, and by the time he had finished the second time there
        were eight people in the room. The baker, who was the oldest of them, said that her mother had had a mortar of just
        that colour, and that it had always been called the captain's hat. Nobody laughed. The next morning she brought it,
        wrapped in a towel. It had been cut from something larger, with great patience, by someone who had no saw for it, and
        when they held it against the crack the edges met.

        How does one join what cannot be welded? There are three ways, and the smith explained all of them, for by now the
        whole village had an opinion. The first is to melt everything and to cast it again; then the bell would ring, but it
        would be a new bell with old metal in it, and the letters would be a copy. The second is to drill holes along both
        edges and to stitch them with wire, as one mends a cracked bowl; it holds for centuries, and it sounds like a spoon
        on a bucket. The third is to do nothing to the bronze at all, but to build an iron frame, thin as a finger, that
        carries both pieces in their places without touching the crack. "That one I can make," she said. "It will take me
        until Easter, since I have the ploughs to do first, and it will cost you what the iron costs." In the end it took her
        until the middle of May. The frame had twelve arms, no two of them alike, and each ended in a small claw lined with
        leather. When the bell was hung in it, in the window that the mason had finally finished, the wind from the harbour
        made it hum: not a note that one could have sung, but a sound, low and steady, which changed a little before rain.
        The schoolmaster, who distrusted everything that could not be measured, kept a table of it for two years. He found
        that it was right on 211 days out of 240, which was more than he could say of the newspaper.

        "And the letters?" people asked, when they came to see it. "What do they say?"
        "They say the name of a ship," the young man told them, "and that it weighs 118 pounds, and on the other side, where
        the crack is, they say: whoever hears me is not yet at home."
        """
}
